//! The workers. Each is PID 1 of a PID namespace, and has a tmpfs of its own for its trees. When the leading process
//! ends, for whatever reason, the kernel kills the workers and everything that they have started, and the trees vanish
//! with the tmpfs.

use crate::examine::{Found, Plain, Reference, examine, reference};
use crate::ground::{Ground, within};
use crate::point::Point;
use crate::scenario::{self, Caller, Scenario};
use std::io::{BufRead as _, BufReader, Write as _, stdin};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// The uid and gid of the runtime account, for a worker that is the runtime account itself.
const ACCOUNT: &str = "23456";

/// A question to a worker: the name of a scenario, the reference to use from now on, and a point. Without a point, the
/// worker is asked for the scenario's reference.
type Question = (String, Option<Plain>, Option<String>);
/// The answer of a worker: a reference, or the result of a point, or the reason why the point could not be done.
type Answer = Result<Said, String>;
type Said = (Option<Plain>, (bool, String, Vec<(String, String)>));

/// One worker.
struct Worker {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The scenario whose reference this worker has.
    knows: String,
}

impl Worker {
    /// Start a worker. With `own`, the worker is the runtime account itself.
    fn new(executable: &Path, own: bool) -> std::io::Result<Worker> {
        let script = r#"mount -t tmpfs -o mode=0755 proof /run
            cp "$1" /run/proof; cp "$2" /run/hermes-s6
            [ "$3" = own ] || exec /run/proof worker
            mkdir /run/own; chown "$4:$4" /run/own; TMPDIR=/run/own; export TMPDIR
            exec setpriv --reuid "$4" --regid "$4" --clear-groups /run/proof worker"#;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.args(["sh", "-ec", script, "sh"]).arg(std::env::current_exe()?).arg(executable);
        command.args([if own { "own" } else { "root" }, ACCOUNT]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().map(BufReader::new).ok_or(std::io::Error::other("no pipe"))?;
        Ok(Worker { child, questions, answers, knows: String::new() })
    }

    fn ask(&mut self, scenario: &str, point: Option<(&Reference, &Point)>) -> Answer {
        let told = point.filter(|_| self.knows != scenario).map(|(reference, _)| reference.plain());
        if told.is_some() {
            self.knows = scenario.to_string();
        }
        let question: Question = (scenario.to_string(), told, point.map(|(_, point)| point.to_string()));
        let lost = |e: &dyn std::fmt::Display| format!("the worker is lost: {e}");
        let text = serde_json::to_string(&question).map_err(|e| lost(&e))?;
        let mut questions = self.questions.as_ref().ok_or(lost(&"no pipe"))?;
        writeln!(questions, "{text}").map_err(|e| lost(&e))?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| lost(&e))?;
        let (said, why): (Option<Said>, String) = serde_json::from_str(&line).map_err(|e| lost(&e))?;
        said.ok_or(why)
    }
}

impl Drop for Worker {
    /// A worker ends when its input ends. If the worker is busy with a point, it is killed.
    fn drop(&mut self) {
        self.questions = None;
        if !within(2.0, || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The workers of a thread, one that runs as root and one that runs as the account. Each is started at its first use.
pub struct Pair<'a> {
    executable: &'a Path,
    workers: [Option<Worker>; 2],
}

impl<'a> Pair<'a> {
    pub fn new(executable: &'a Path) -> Pair<'a> {
        Pair { executable, workers: [None, None] }
    }

    pub fn reference(&mut self, scenario: &Scenario) -> Result<Reference, String> {
        let (plain, _) = self.ask(scenario, None)?;
        plain.map(Reference::of).ok_or("no reference came".to_string())
    }

    pub fn examine(&mut self, scenario: &Scenario, reference: &Reference, point: &Point) -> Result<Found, String> {
        let (_, (reached, ran, violations)) = self.ask(scenario, Some((reference, point)))?;
        Ok(Found { reached, ran, violations })
    }

    /// Ask a worker. If it could not do the point, a new worker is asked once more, because the machine may have been
    /// too busy.
    fn ask(&mut self, scenario: &Scenario, point: Option<(&Reference, &Point)>) -> Answer {
        let own = scenario.caller == Caller::Own;
        let worker = &mut self.workers[usize::from(own)];
        let mut answer = Err(String::new());
        for _ in 0..2 {
            if worker.is_none() {
                *worker =
                    Some(Worker::new(self.executable, own).map_err(|e| format!("unable to start a worker: {e}"))?);
            }
            answer = worker.as_mut().map_or(Err(String::new()), |worker| worker.ask(scenario.name, point));
            match answer {
                Ok(_) => break,
                Err(_) => *worker = None,
            }
        }
        answer
    }
}

/// The main loop of a worker: read a question from a line of stdin, and write the answer as a line of stdout, until
/// stdin ends.
pub fn work() {
    let why = std::sync::Arc::new(Mutex::new(String::new()));
    let hook = why.clone();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut why) = hook.lock() {
            *why = panic.to_string();
        }
    }));
    let scenarios = scenario::all();
    let mut known = None;
    let mut answer = |ground: &Ground, line: &str| -> Answer {
        let (name, told, point): Question = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let scenario = scenarios.iter().find(|s| s.name == name).ok_or("no such scenario")?;
        known = told.map(Reference::of).or(known.take());
        let Some(point) = point else {
            return Ok((Some(reference(ground, scenario).plain()), Default::default()));
        };
        let point = Point::parse(&point).ok_or("no such point")?;
        let found = examine(ground, scenario, known.as_ref().ok_or("no reference")?, &point);
        Ok((None, (found.reached, found.ran, found.violations)))
    };
    let mut ground = None;
    for line in stdin().lock().lines().map_while(Result::ok) {
        let answered = catch_unwind(AssertUnwindSafe(|| answer(ground.get_or_insert_with(Ground::new), &line)));
        let answered = answered.unwrap_or_else(|_| Err(why.lock().map(|why| why.clone()).unwrap_or_default()));
        let said = match answered {
            Ok(said) => (Some(said), String::new()),
            Err(why) => (None, why),
        };
        println!("{}", serde_json::to_string(&said).unwrap_or_default());
    }
    // When this process ends, the kernel ends all processes of the namespace, and the tree is gone.
    std::process::exit(0);
}
