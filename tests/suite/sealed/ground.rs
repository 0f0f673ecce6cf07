//! The tree, the canary, and the account's own threads.

use crate::support::{Profile, Ran, Tool, Tree, executable, needs_root};
use rustix::fs::{CWD, FileType, RenameFlags};
use rustix::process::{Gid, Uid};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// A secret of root's, which no tool may print.
const SECRET: &str = "the-secret-of-root";

/// The service of s6-rc that runs the oneshots.
const RUNNER: &str = "s6rc-oneshot-runner";

/// A tree with an s6-svscan, what s6-overlay has beside the slots, and a canary.
pub struct Ground {
    pub tree: Tree,
    before: BTreeMap<PathBuf, String>,
}

impl Ground {
    /// A tree with an s6-svscan that listens.
    pub fn new() -> Ground {
        let ground = Ground::without_svscan();
        ground.tree.svscan();
        ground
    }

    pub fn without_svscan() -> Ground {
        needs_root();
        let tree = Tree::new();
        let canary = canary_of(&tree);
        for dir in [canary.clone(), canary.join("dir"), canary.join("dir/logs")] {
            fs::create_dir(&dir).expect("canary");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        for (name, mode) in [
            ("file", 0o600),
            ("dir/SOUL.md", 0o600),
            ("dir/gateway_state.json", 0o600),
            ("dir/container-boot.log", 0o600),
            ("dir/current", 0o600),
            ("dir/logs/container-boot.log", 0o600),
            ("open", 0o644),
        ] {
            fs::write(canary.join(name), format!("{{\"desired_state\":\"running\",\"x\":\"{SECRET}\"}}\n"))
                .expect("canary");
            fs::set_permissions(canary.join(name), fs::Permissions::from_mode(mode)).expect("mode");
        }
        let before = looks(&canary);
        let ground = Ground { tree, before };
        ground.lay_out();
        ground
    }

    /// Make what s6-overlay has beside the slots: the live directory of s6-rc, which everybody may enter and list, and in
    /// it the server that runs the oneshots as root, to which everybody may connect (s6-rc-compile.c,
    /// write_oneshot_runner).
    fn lay_out(&self) {
        let root = self.tree.root();
        let live = root.join("s6-rc:s6-rc-init:abcdef");
        let runner = live.join("servicedirs").join(RUNNER);
        let script = r#"umask 022; mkdir -p "$1"/data/rules/uid/0 "$1"/data/rules/gid/0
            touch "$1"/data/rules/uid/0/allow "$1"/data/rules/gid/0/allow "$2"/state
            (umask 077; touch "$2"/lock); ln -s "$2" "$3"/s6-rc
            ln -s ../s6-rc/servicedirs/s6rc-oneshot-runner "$4""#;
        let made = self.tree.tool("sh").args(["-ec", script, "sh"]).args([
            &runner,
            &live,
            &root.to_path_buf(),
            &self.tree.scandir(),
        ]);
        made.run().is(0, "", "");
        let oneshot = root.join("oneshot");
        // It records who has asked for what, and does the work of the service hermes-gateways.
        let text = format!(
            "#!/bin/sh\necho \"$*\" >>{}/oneshots\n[ \"$1\" = up ] || exec {}/hermes-svc-stop -a -k -w -t 60000\n",
            root.display(),
            self.tree.bin().display()
        );
        executable(&oneshot, &text);
        let run = format!(
            "#!/bin/sh\nexec s6-ipcserver-socketbinder s s6-ipcserverd s6-ipcserver-access -v0 -E -l0 -i data/rules \\\n    s6-sudod -t 30000 {}\n",
            oneshot.display()
        );
        executable(&runner.join("run"), &run);
    }

    /// The socket of the server that runs the oneshots.
    pub fn oneshots(&self) -> PathBuf {
        self.tree.root().join("s6-rc/servicedirs").join(RUNNER).join("s")
    }

    /// A directory of root's. Only root may read `file` and the content of `dir`, and `dir` looks like a profile.
    pub fn canary(&self) -> PathBuf {
        canary_of(&self.tree)
    }

    /// Check that the canary is unchanged, and that no program of the account's has run as root.
    #[track_caller]
    pub fn unharmed(&self) {
        assert_eq!(looks(&self.canary()), self.before);
        assert!(!self.marker().exists(), "the account made root run: {:?}", fs::read_to_string(self.marker()));
    }

    /// The file in which the account's programs record that they ran as root.
    fn marker(&self) -> PathBuf {
        self.tree.scratch().join("ran-as-0")
    }

    /// Make a program of the account's that records who ran it.
    pub fn trap(&self, path: &Path) {
        let text = format!("#!/bin/sh\necho \"$0 $*\" >>{}/ran-as-$(/usr/bin/id -u)\n", self.tree.scratch().display());
        fs::write(path, text).expect("trap");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
        self.give(path);
    }

    /// Give a file to the account.
    pub fn give(&self, path: &Path) {
        lchown(path, Some(self.tree.uid), Some(self.tree.gid)).expect("owner");
    }

    /// Run a tool as root, check the canary, and check that the output is fit for a terminal.
    #[track_caller]
    pub fn run(&self, tool: Tool) -> Ran {
        let ran = tool.run();
        self.unharmed();
        clean(&ran);
        ran
    }

    #[track_caller]
    pub fn tool(&self, line: &str) -> Ran {
        let mut words = line.split(' ');
        self.run(self.tree.tool(words.next().expect("a name")).args(words))
    }

    /// Run `work` in a thread that has the account's rights for good: real, effective and saved.
    pub fn as_account<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let (uid, gid) = (self.tree.uid, self.tree.gid);
        let play = move || {
            become_account(uid, gid);
            work()
        };
        std::thread::scope(|scope| scope.spawn(play).join().expect("the account's thread"))
    }

    /// Repeat `work` with the account's rights until the returned value is dropped.
    pub fn keep_on(&self, mut work: impl FnMut() + Send + 'static) -> Mischief {
        let (uid, gid) = (self.tree.uid, self.tree.gid);
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            become_account(uid, gid);
            while !stopped.load(Ordering::Relaxed) {
                work();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Mischief { stop, rounds, thread: Some(thread) }
    }

    /// Let the account exchange these two names over and over.
    pub fn swap(&self, one: &Path, other: &Path) -> Mischief {
        let (one, other) = (one.to_path_buf(), other.to_path_buf());
        self.keep_on(move || {
            // A tool may have just renamed one of the two.
            let _ = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        })
    }

    /// Replace `path` by something that belongs to the account.
    pub fn plant(&self, kind: Kind, path: &Path) {
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        let canary = self.canary();
        match kind {
            Kind::LinkToFile => symlink(canary.join("file"), path).expect("link"),
            Kind::LinkToDir => symlink(canary.join("dir"), path).expect("link"),
            Kind::LinkToNothing => symlink(canary.join("nothing"), path).expect("link"),
            Kind::LinkToItself => symlink(path, path).expect("link"),
            Kind::Fifo => rustix::fs::mknodat(CWD, path, FileType::Fifo, 0o666.into(), 0).expect("FIFO"),
            Kind::Directory => fs::create_dir(path).expect("directory"),
            Kind::Socket => drop(std::os::unix::net::UnixListener::bind(path).expect("socket")),
            Kind::HardLink => {
                let own = self.tree.scratch().join("linked");
                fs::write(&own, "linked\n").expect("file");
                self.give(&own);
                fs::hard_link(&own, path).expect("hard link");
                return;
            }
        }
        self.give(path);
    }
}

/// The kinds of things that may be where a tool expects a file or a directory.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    LinkToFile,
    LinkToDir,
    LinkToNothing,
    LinkToItself,
    Fifo,
    Directory,
    Socket,
    HardLink,
}

pub const KINDS: [Kind; 8] = [
    Kind::LinkToFile,
    Kind::LinkToDir,
    Kind::LinkToNothing,
    Kind::LinkToItself,
    Kind::Fifo,
    Kind::Directory,
    Kind::Socket,
    Kind::HardLink,
];

/// Something that the account repeats until this value is dropped.
pub struct Mischief {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Mischief {
    /// How many times the account has done it.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Mischief {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("a thread").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the account's thread failed");
    }
}

fn become_account(uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[gid]).expect("groups");
    rustix::thread::set_thread_res_gid(gid, gid, gid).expect("gid");
    rustix::thread::set_thread_res_uid(uid, uid, uid).expect("uid");
}

fn canary_of(tree: &Tree) -> PathBuf {
    tree.root().join("canary")
}

/// A description of each file that shows any change. The ctime shows changes of owner, mode and links.
fn looks(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("canary");
        let content = if meta.is_file() { fs::read_to_string(&path).expect("canary") } else { String::new() };
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        let look = format!("{:o} {}:{} {} {times:?} {content}", meta.mode(), meta.uid(), meta.gid(), meta.nlink());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).expect("canary").flatten().map(|e| e.path()));
        }
        found.insert(path, look);
    }
    found
}

/// Check that the text has no byte that moves a cursor or begins a line of its own, and not the secret.
#[track_caller]
pub fn clean(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let raw = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(*c, '\u{202a}'..='\u{202e}'));
        assert!(raw.is_none(), "a raw {raw:?} in {ran}");
        assert!(!text.contains(SECRET), "{ran}");
    }
    let prog = ran.line.split(' ').next().unwrap_or_default();
    let stray = ran.stderr.lines().find(|line| prog.starts_with("hermes-") && !line.starts_with(&format!("{prog}: ")));
    assert!(stray.is_none(), "a line that is not the tool's: {stray:?} in {ran}");
}

/// A profile whose intent is to run. The intent is there before the marker, so that a watcher that sees the profile finds it.
pub fn runs<'a>(tree: &'a Tree, name: &str) -> Profile<'a> {
    drop(Profile::bare(tree, name).intent("running"));
    tree.profile(name)
}
