//! The tree of a worker. It is made anew for each point.

use crate::support::{Profile, Ran, Tool, Tree, is_root};
use rustix::process::{WaitOptions, wait};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The path at which a worker mounts the executable, so that the runtime account cannot write to it.
pub const EXECUTABLE: &str = "/run/hermes-s6";

/// The programs of s6 that can be made to fail. The tools run them.
const PROGRAMS: [&str; 4] = ["s6-svc", "s6-svscanctl", "s6-svstat", "s6-svdt-clear"];

/// A tree, with templates of earlier releases beside the tree's own template.
pub struct Ground {
    pub tree: Tree,
}

impl Ground {
    /// A tree in which the tools are links to the one executable, as `make install` makes them.
    pub fn new() -> Ground {
        let mut tree = Tree::new();
        // The stand-in gateways write no state, so they never get ready. All may start at once, because each would keep
        // its place for half a minute.
        tree.env.push(("HERMES_START_LIMIT".to_string(), "0".to_string()));
        for entry in fs::read_dir(tree.bin()).expect("bin").flatten() {
            if entry.file_name().to_string_lossy().starts_with("hermes-") {
                fs::remove_file(entry.path()).expect("a tool");
                symlink(EXECUTABLE, entry.path()).expect("link");
            }
        }
        for name in ["template-old", "template-nolog"] {
            let copied =
                Command::new("cp").arg("-R").arg(tree.template()).arg(tree.template().with_file_name(name)).status();
            assert!(copied.is_ok_and(|status| status.success()), "unable to copy the template");
        }
        let ground = Ground { tree };
        fs::create_dir(ground.root().join("real")).expect("a directory for programs");
        for name in PROGRAMS {
            let copy = format!("cp -L \"$(command -v {name})\" {}/real/", ground.root().display());
            assert!(Command::new("sh").args(["-c", &copy]).status().is_ok_and(|s| s.success()), "no {name}");
        }
        fs::remove_dir_all(ground.template("nolog").join("log")).expect("log");
        ground
    }

    pub fn root(&self) -> PathBuf {
        self.tree.home().parent().expect("a parent").to_path_buf()
    }

    /// The path of a template of an earlier release.
    pub fn template(&self, variant: &str) -> PathBuf {
        self.tree.template().with_file_name(format!("template-{variant}"))
    }

    /// Kill everything that runs, and begin anew with an empty scandir, a new s6-svscan, and a volume that is empty
    /// except for the port of a profile that does not exist.
    pub fn fresh(&self) {
        self.tree.kill_hard();
        // This process is PID 1 of its namespace. So orphans are its children, and it has to reap them.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        for dir in [self.tree.home(), self.tree.scandir(), self.tree.scratch()] {
            fs::remove_dir_all(&dir).expect("an old directory");
            fs::create_dir(&dir).expect("a new directory");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        for dir in [self.tree.home(), self.tree.scratch()] {
            chown(dir, Some(self.tree.uid), Some(self.tree.gid)).expect("owner");
        }
        let _ = fs::remove_file(self.tree.svscan_log());
        self.write("gateway_ports.json", "{\"ghost\":9700}\n");
        self.tree.svscan();
    }

    /// Write a file on the volume that belongs to the runtime account.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.tree.home().join(name);
        fs::write(&path, text).expect("a file on the volume");
        chown(path, Some(self.tree.uid), Some(self.tree.gid)).expect("owner");
    }

    /// Make a profile whose state file has fields that no tool knows. Its gateway does not write the state file, so
    /// every change of the file was made by a tool.
    pub fn profile(&self, name: &str, intent: &str) -> Profile<'_> {
        self.tree.profile(name).stand_in("silent=1\n").state(state(name, intent))
    }

    /// Run a tool that prepares the tree, as the owner of the tree.
    pub fn prepare(&self, command: &[&str]) {
        let ran = self.tree.tool(command[0]).args(&command[1..]).run();
        assert!(ran.code == 0, "unable to prepare: {ran}");
    }

    /// Make a profile with a slot. If the intent is to run, wait until its gateway is up.
    pub fn live(&self, name: &str, intent: &str) {
        self.profile(name, intent);
        self.prepare(&["hermes-reconcile-one", name]);
        if intent == "running" {
            self.up(name);
        }
    }

    /// Wait until the gateway runs and catches SIGTERM. A SIGTERM that came earlier would kill it, and the planned-stop
    /// marker would stay behind.
    pub fn up(&self, name: &str) {
        let starts = self.tree.profile_dir(name).join("stand-in.starts");
        let hears = || {
            let starts = fs::read_to_string(&starts).ok()?;
            let pid = starts.lines().last()?.split(' ').next()?.to_string();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
            (caught >> 14 & 1 == 1).then_some(())
        };
        assert!(within(20.0, || hears().is_some()), "the gateway of {name} does not come up");
        let supervised = || self.tree.svstat(name, "up,wantedup").is_some_and(|s| s == ["true", "true"]);
        assert!(within(20.0, supervised), "the slot of {name} is not up");
    }

    /// Replace the state file of a profile by one with another intent.
    pub fn intend(&self, name: &str, intent: &str) {
        self.write(&format!("profiles/{name}/gateway_state.json"), &state(name, intent));
    }

    /// Run a tool behind the words of `wrapper`. If it still runs after `seconds`, every process of the tree is killed,
    /// and the returned bool is true.
    pub fn run(&self, wrapper: &[String], command: &[String], account: bool, seconds: f64) -> (Ran, bool) {
        let program = self.tree.bin().join(&command[0]).display().to_string();
        let line: Vec<&String> = wrapper.iter().chain([&program]).chain(&command[1..]).collect();
        let tool: Tool =
            if account && is_root() { self.tree.tool_as_account(line[0]) } else { self.tree.tool(line[0]) };
        let running = tool.args(&line[1..]).start();
        let hung = !within(seconds, || !running.is_running());
        if hung {
            // A program that the tool has started would otherwise keep the output open.
            self.tree.kill_hard();
        }
        (running.wait(), hung)
    }

    /// The words to put before a command, so that the `number`-th program of s6 which the command runs fails in the way
    /// of `how`. In a mount namespace of the command, another program is mounted over each of s6's programs. Each run
    /// of one appends a line to `log`.
    pub fn failing_program(&self, number: u32, how: &str, log: &Path, account: bool) -> Vec<String> {
        let (real, log) = (self.root().join("real").display().to_string(), log.display());
        let failure = match how {
            "BEFORE" => "kill -9 $$".to_string(),
            "AFTER" => format!("{real}/\"$name\" \"$@\"; kill -9 $$"),
            code => format!("echo \"$name: fatal: injected\" >&2; exit {code}"),
        };
        let program = self.tree.script(
            "program",
            &format!(
                "#!/bin/sh\nname=${{0##*/}}\necho \"$name $*\" >> {log}\n\
                 [ $(wc -l < {log}) -ne {number} ] || {{ echo \"$name $* (INJECTED)\" >> {log}.hit; {failure}; }}\n\
                 exec {real}/\"$name\" \"$@\"\n"
            ),
        );
        let mounts = PROGRAMS.map(|name| format!("mount --bind {program} \"$(command -v {name})\"")).join(" && ");
        let mut words = vec!["unshare", "--mount", "sh", "-c"].into_iter().map(str::to_string).collect::<Vec<_>>();
        words.extend([format!("{mounts} && exec \"$@\""), "sh".to_string()]);
        if account {
            let (uid, gid) = (self.tree.uid.to_string(), self.tree.gid.to_string());
            words.extend(["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups"].map(str::to_string));
        }
        words
    }

    /// Check that s6-svscan lives, and that it supervises a new entry within 5 s.
    pub fn probe(&self) -> Result<(), String> {
        let (hidden, seen) = (self.tree.scandir().join(".probe"), self.tree.scandir().join("probe"));
        fs::create_dir(&hidden).expect("a probe");
        fs::write(hidden.join("run"), "#!/bin/sh\nexec sleep 1000\n").expect("a probe's run");
        fs::set_permissions(hidden.join("run"), fs::Permissions::from_mode(0o755)).expect("mode");
        fs::rename(&hidden, &seen).expect("a probe's name");
        self.tree.tool("s6-svscanctl").arg("-a").arg(self.tree.scandir()).run();
        let up = || self.tree.tool("s6-svstat").args(["-o", "up"]).arg(&seen).run().stdout == "true\n";
        if within(5.0, up) { Ok(()) } else { Err("s6-svscan does not take up a new service within 5 s".to_string()) }
    }
}

fn state(name: &str, intent: &str) -> String {
    format!(
        "{{\"pid\":1,\"gateway_state\":\"stopped\",\"desired_state\":\"{intent}\",\"hermes_s6_profile\":\"{name}\",\"x_list\":[1,2.50,\"\\u00e9z\",null],\
         \"x_big\":123456789012345678901234567890,\"x_deep\":{{\"a\":{{\"b\":[]}}}}}}\n"
    )
}

/// Does the condition become true within this time? It is checked at least once.
pub fn within(seconds: f64, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut pause = Duration::from_millis(2);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// `rm -r`, repeated until nothing is left. Processes may still write into the directory.
pub fn vanish(dir: &Path) {
    assert!(within(10.0, || fs::remove_dir_all(dir).is_ok() || !dir.exists()), "{} does not go", dir.display());
}
