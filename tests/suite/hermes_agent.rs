//! The real Hermes Agent: its gateways serve on the ports that we assign, and both understand the state files.
//!
//! Each start of a gateway takes seconds, so one test makes several claims. Hermes Agent delays the sixth start within
//! two minutes, so no profile is started more often than five times.

use crate::support::{Profile, Tree, agent, free_port, kill, start_time, wait_until};
use rustix::process::Signal;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// A profile whose API server is enabled, without a port of its own, and the port that our allocator has recorded for
/// it.
struct Server<'a> {
    profile: Profile<'a>,
    port: u16,
    tree: &'a Tree,
}

impl<'a> Server<'a> {
    /// The profile of this name, with this state file.
    fn new(tree: &'a Tree, name: &str, state: &str) -> Server<'a> {
        let key = format!("{:016x}{:016x}", RandomState::new().hash_one(name), RandomState::new().hash_one(name));
        let profile = tree.profile(name).env(&format!("API_SERVER_ENABLED=true\nAPI_SERVER_KEY={key}\n")).state(state);
        let port = free_port();
        let range = format!("{port}-{port}");
        tree.tool("hermes-port-alloc").args(["-r", &range, name]).run().is(0, &format!("{port}\n"), "");
        Server { profile, port, tree }
    }

    /// The answer to `GET /health`, if a process listens on the port.
    fn health(&self) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Check that the gateway is ready according to s6, that it answers on the port that `hermes-port-alloc` prints,
    /// and that its state file says so. Returns its pid.
    #[track_caller]
    fn serves(&self) -> u32 {
        let name = self.profile.name.as_str();
        self.tree.tool("hermes-port-alloc").arg(name).run().is(0, &format!("{}\n", self.port), "");
        let answer = self.health().unwrap_or_else(|| panic!("{name} does not answer on port {}", self.port));
        assert!(answer.contains(" 200 OK\r\n") && answer.contains(r#""status": "ok""#), "{name}: {answer}");
        let stat = self.tree.svstat(name, "up,ready,pid").expect("a supervisor");
        assert_eq!(stat[..2], ["true", "true"], "{name}");
        let pid: u32 = stat[2].parse().expect("a pid");
        let state = self.profile.json();
        assert_eq!((&state["gateway_state"], &state["pid"]), (&"running".into(), &pid.into()), "{name}: {state}");
        assert_eq!(self.profile.desired().as_deref(), Some("running"), "{name}");
        assert_eq!(self.gateways(), [pid], "{name}");
        pid
    }

    /// Check that nothing answers on its port, and that its slot is down.
    #[track_caller]
    fn is_down(&self) {
        let name = self.profile.name.as_str();
        let stat = self.tree.svstat(name, "up,wantedup");
        assert_eq!((self.health(), stat), (None, Some(vec!["false".to_string(); 2])), "{name}");
        assert_eq!(self.gateways(), [0; 0], "{name}");
    }

    /// Its gateway processes, found by the port in their environment.
    fn gateways(&self) -> Vec<u32> {
        let port = format!("API_SERVER_PORT={}", self.port).into_bytes();
        let its = |environ: &[u8]| environ.split(|byte| *byte == 0).any(|variable| variable == port);
        let processes = self.tree.processes().into_iter();
        processes.filter(|p| p.args.ends_with("gateway run --replace") && its(&p.environ)).map(|p| p.pid).collect()
    }
}

/// A state file with the intent to run, and with a field that neither Hermes Agent nor we know.
const WANTED: &str = r#"{"desired_state":"running","our_own":{"n":[1,2.50,null]}}"#;

#[track_caller]
fn start_and_wait(tree: &Tree, names: &[&str], action: &str) {
    let records: String = names.iter().map(|name| format!("profile={name} action={action}\n")).collect();
    tree.tool_as_account("hermes-svc-start").arg("-W").args(names).run().is(0, &records, "");
}

/// Rows E1, E5 of docs/failures.md.
#[test]
fn gateways_serve_side_by_side_on_the_ports_that_we_allot() {
    let tree = Tree::up();
    agent::install(&tree);
    let names = ["default", "coder", "writer"];
    let servers = names.map(|name| Server::new(&tree, name, r#"{"our_own":{"n":[1,2.50,null]}}"#));
    let [default, coder, writer] = &servers;
    for server in &servers {
        let record = format!("profile={} action=registered port={}\n", server.profile.name, server.port);
        tree.tool("hermes-svc-register").arg(&server.profile.name).run().is(0, &record, "");
        server.is_down();
    }

    start_and_wait(&tree, &names, "started");
    let pids = [default, coder, writer].map(|server| server.serves());
    for (server, pid) in servers.iter().zip(pids) {
        let owner = std::fs::metadata(format!("/proc/{pid}")).expect("a gateway");
        assert_eq!((owner.uid(), owner.gid()), (tree.uid, tree.gid));
        assert_eq!(server.profile.json()["our_own"], serde_json::json!({"n": [1, 2.5, null]}));
    }
    start_and_wait(&tree, &names, "unchanged");

    // After a stop, Hermes Agent writes the same word for the intent as we do.
    tree.tool_as_account("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    coder.is_down();
    assert_eq!(start_time(pids[1]), None);
    let state = coder.profile.json();
    assert_eq!((&state["gateway_state"], &state["desired_state"]), (&"stopped".into(), &"stopped".into()), "{state}");
    assert_eq!((&state["pid"], &state["our_own"]["n"][1]), (&pids[1].into(), &2.5.into()), "{state}");
    assert_eq!([default.serves(), writer.serves()], [pids[0], pids[2]]);

    // A restart gives a new process, which is ready when the tool says so.
    let restart = tree.tool_as_account("hermes-svc-restart").args(["-W", "writer"]).run();
    restart.is(0, "profile=writer action=restarted\n", "");
    assert_ne!(writer.serves(), pids[2]);
    assert_eq!((start_time(pids[2]), default.serves()), (None, pids[0]));
    coder.is_down();
}

#[test]
fn after_any_death_the_intended_gateways_are_back_on_their_old_ports() {
    let tree = Tree::up();
    agent::install(&tree);
    let default = Server::new(&tree, "default", r#"{"gateway_state":"draining"}"#);
    let coder = Server::new(&tree, "coder", WANTED);
    let writer = Server::new(&tree, "writer", r#"{"desired_state":"stopped","gateway_state":"running"}"#);
    let boot = |prior: [&str; 3]| {
        let action = |prior| if prior == "running" { "started" } else { "registered" };
        let line = |server: &Server, prior| {
            let (name, port) = (&server.profile.name, server.port);
            format!("reconcile: profile={name} prior_state={prior} action={} port={port} prior_exit=*\n", action(prior))
        };
        let [a, b, c] = prior;
        let lines = line(&default, a) + &line(&coder, b) + &line(&writer, c);
        tree.tool("hermes-reconcile-all").arg("-w").run().is(0, &(lines + "reconcile: done profiles=3 *\n"), "");
        // The pass waits for s6-supervise, which may have to wait for a processor before it starts the gateway. A start in
        // between orders what is wanted already, and its record is `started`.
        for name in ["default", "coder"] {
            wait_until(&format!("s6 to start {name}"), || tree.gateway(name).is_some());
        }
    };

    boot(["running", "running", "stopped"]);
    start_and_wait(&tree, &["default"], "started");
    start_and_wait(&tree, &["coder"], "unchanged");
    let first = [default.serves(), coder.serves()];
    writer.is_down();

    // This is what docker kill and docker start do.
    tree.reboot();
    assert_eq!((default.health(), coder.health()), (None, None));
    boot(["running", "running", "stopped"]);
    start_and_wait(&tree, &["default", "coder"], "unchanged");
    let second = [default.serves(), coder.serves()];
    assert!(first.iter().all(|pid| !second.contains(pid)));
    writer.is_down();

    // This is what docker restart does: the gateways are drained, and the intents are kept.
    let stop = tree.tool("hermes-svc-stop").args(["-a", "-k", "-w"]).run();
    stop.is(0, "profile=default action=stopped\nprofile=coder action=stopped\n", "");
    for server in [&default, &coder] {
        server.is_down();
        assert_eq!(server.profile.desired().as_deref(), Some("running"), "{}", server.profile.name);
    }
    assert_eq!(coder.profile.json()["our_own"]["n"][1], 2.5);
    tree.reboot();
    boot(["running", "running", "stopped"]);
    start_and_wait(&tree, &["default", "coder"], "unchanged");
    default.serves();
    coder.serves();
    writer.is_down();
}

/// Row F7 of docs/failures.md.
#[test]
fn the_orphan_of_a_killed_supervisor_is_taken_over_and_not_doubled() {
    let tree = Tree::up();
    agent::install(&tree);
    let coder = Server::new(&tree, "coder", WANTED);
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run().is(0, "profile=coder action=registered port=*\n", "");
    // The slot is published up, and its gateway may start a moment after register returns.
    wait_until("the gateway", || tree.gateway("coder").is_some());
    start_and_wait(&tree, &["coder"], "unchanged");
    let orphan = coder.serves();
    kill(tree.supervisor(&tree.slot("coder")).expect("a supervisor"), Signal::KILL);
    wait_until("the next gateway", || tree.gateway("coder").is_some_and(|pid| pid != orphan));
    start_and_wait(&tree, &["coder"], "unchanged");
    assert_ne!(coder.serves(), orphan);
    assert_eq!(start_time(orphan), None);

    // The supervisor is killed again, and then comes a stop, which also stops the orphan.
    let orphan = coder.serves();
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    kill(supervisor, Signal::KILL);
    wait_until("the supervisor to be gone", || start_time(supervisor).is_none());
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    coder.is_down();
    assert_eq!((start_time(orphan), coder.profile.desired().as_deref()), (None, Some("stopped")));
}

#[test]
fn a_port_that_somebody_else_took_holds_the_gateway_until_it_is_free_again() {
    let tree = Tree::up();
    agent::install(&tree);
    let coder = Server::new(&tree, "coder", "{}");
    let thief = TcpListener::bind((Ipv4Addr::LOCALHOST, coder.port)).expect("the port");
    tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=registered port=*\n", "");
    if agent::minor() < 19 {
        // It goes on without the port, and tries again by itself.
        let start = |wait| tree.tool_as_account("hermes-svc-start").args(wait).arg("coder").run();
        start(&[][..]).is(0, "profile=coder action=started\n", "");
        let log = tree.home().join("logs/gateways/coder/current");
        let says = |log: &str| log.contains("already in use");
        wait_until("the gateway to try", || std::fs::read_to_string(&log).is_ok_and(|log| says(&log)));
        tree.tool("hermes-gateway-ready").arg("coder").run().is(1, "", "");
        drop(thief);
        start(&["-W", "-t", "180000"]).is(0, "profile=coder action=unchanged\n", "");
        coder.serves();
        return;
    }
    let held = tree.tool_as_account("hermes-svc-start").args(["-W", "coder"]).run();
    held.is(111, "", "hermes-svc-start: fatal: unable to start coder: it is held*Port * already in use*\n");
    let explained = tree.tool("hermes-svc-status").args(["-x", "coder"]).run();
    explained.is(
        0,
        "Manager: *\ncoder is held, and its intent is running\n**\n  next: *hermes-svc-start -W coder\n",
        "",
    );
    drop(thief);
    start_and_wait(&tree, &["coder"], "started");
    coder.serves();
}
