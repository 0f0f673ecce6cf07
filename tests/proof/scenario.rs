//! The commands that are disturbed, and the trees that they run on.

use crate::ground::{Ground, vanish};
use std::fs;

/// The caller of the tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Root, in a tree that belongs to root.
    Root,
    /// The runtime account, in a tree that belongs to root, which is sealed.
    Sealed,
    /// The runtime account, in a tree that belongs to the account, s6-svscan included.
    Own,
}

/// A command, and the tree that it runs on.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub caller: Caller,
    /// The words of the command, separated by blanks.
    command: &'static str,
    /// Prepares the tree.
    pub make: fn(&Ground),
}

impl Scenario {
    pub fn tool(&self) -> &'static str {
        self.command.split(' ').next().unwrap_or_default()
    }

    /// Does the tool only read? Then only its output can be wrong.
    pub fn reads(&self) -> bool {
        matches!(self.tool(), "hermes-svc-list" | "hermes-svc-status")
    }

    /// The words of the command. If the tool has the option `-t`, it is given with this many milliseconds.
    pub fn command(&self, timeout: u32) -> Vec<String> {
        let untimed = ["hermes-port-alloc", "hermes-fix-attrs", "hermes-svc-list", "hermes-svc-status"];
        let mut words: Vec<String> = self.command.split(' ').map(str::to_string).collect();
        if !untimed.contains(&self.tool()) {
            words.splice(1..1, ["-t".to_string(), timeout.to_string()]);
        }
        words
    }
}

/// All scenarios, in the order of the table.
pub fn all() -> Vec<Scenario> {
    use Caller::{Own, Root, Sealed};
    let of = |name, caller, command, make| Scenario { name, caller, command, make };
    let stopped: fn(&Ground) = |g| drop(g.profile("coder", "stopped"));
    let down: fn(&Ground) = |g| g.live("coder", "stopped");
    let up: fn(&Ground) = |g| g.live("coder", "running");
    vec![
        of("register-new", Root, "hermes-svc-register coder", stopped),
        of("register-up-env", Root, "hermes-svc-register -u -e A=1 -e B=2 coder", stopped),
        of("register-live-env", Root, "hermes-svc-register -e A=new -e C=3 coder", |g| {
            g.profile("coder", "running");
            g.prepare(&["hermes-svc-register", "-u", "-e", "A=old", "-e", "B=2", "coder"]);
            g.up("coder");
        }),
        of("register-live-links", Root, "hermes-svc-register coder", |g| {
            g.profile("coder", "running");
            g.prepare(&["hermes-svc-register", "-u", "-T", &g.template("old").display().to_string(), "coder"]);
            g.up("coder");
        }),
        of("register-new-shape", Root, "hermes-svc-register coder", |g| {
            g.profile("coder", "stopped");
            let template = g.template("nolog").display().to_string();
            g.prepare(&["hermes-svc-register", "-T", &template, "-e", "A=kept", "coder"]);
        }),
        of("unregister-up", Root, "hermes-svc-unregister coder", up),
        of("unregister-down", Root, "hermes-svc-unregister coder", down),
        of("unregister-absent", Root, "hermes-svc-unregister coder", |g| {
            g.profile("coder", "stopped");
            g.prepare(&["hermes-port-alloc", "coder"]);
        }),
        of("start-down", Root, "hermes-svc-start coder", down),
        of("start-no-slot", Root, "hermes-svc-start coder", stopped),
        of("start-w", Root, "hermes-svc-start -w coder", down),
        of("stop-up", Root, "hermes-svc-stop -w coder", up),
        of("restart-up", Root, "hermes-svc-restart coder", up),
        of("restart-down", Root, "hermes-svc-restart coder", down),
        of("port-alloc-new", Root, "hermes-port-alloc coder", stopped),
        of("port-alloc-free", Root, "hermes-port-alloc -d coder", |g| {
            g.profile("coder", "stopped");
            g.prepare(&["hermes-port-alloc", "coder"]);
        }),
        of("one-new", Root, "hermes-reconcile-one coder", |g| drop(g.profile("coder", "running"))),
        of("one-vanished", Root, "hermes-reconcile-one coder", |g| {
            g.live("coder", "running");
            vanish(&g.tree.profile_dir("coder"));
        }),
        of("one-changed", Root, "hermes-reconcile-one coder", |g| {
            g.live("coder", "stopped");
            g.intend("coder", "running");
        }),
        of("all-mixed", Root, "hermes-reconcile-all", mixed),
        of("all-quiet", Root, "hermes-reconcile-all", |g| {
            quiet(g);
            g.prepare(&["hermes-reconcile-one", "default"]);
        }),
        of("all-vanished", Root, "hermes-reconcile-all", |g| {
            quiet(g);
            g.prepare(&["hermes-reconcile-one", "default"]);
            g.live("dead", "running");
            vanish(&g.tree.profile_dir("dead"));
        }),
        of("fix-attrs", Root, "hermes-fix-attrs", |g| {
            let dir = g.profile("coder", "stopped").dir;
            for path in [dir.join("sub"), dir.join("sub/deep")] {
                fs::create_dir(path).expect("a directory of root's");
            }
            for path in [dir.join("sub/deep/file"), dir.join("file"), g.tree.home().join("config.yaml")] {
                fs::write(path, "root's\n").expect("a file of root's");
            }
        }),
        of("list", Root, "hermes-svc-list", quiet),
        of("status", Root, "hermes-svc-status", quiet),
        of("sealed-start", Sealed, "hermes-svc-start coder", down),
        of("sealed-stop", Sealed, "hermes-svc-stop -w coder", up),
        of("sealed-restart", Sealed, "hermes-svc-restart coder", up),
        of("sealed-status", Sealed, "hermes-svc-status", quiet),
        of("own-register", Own, "hermes-svc-register -u -e A=1 coder", stopped),
        of("own-unregister", Own, "hermes-svc-unregister coder", up),
        of("own-start", Own, "hermes-svc-start coder", down),
        of("own-stop", Own, "hermes-svc-stop -w coder", up),
    ]
}

/// Two profiles, one with its gateway up and one with its gateway down.
fn quiet(g: &Ground) {
    g.live("coder", "running");
    g.live("writer", "stopped");
}

/// A volume as a boot pass may find it. Since the slots were made, profiles have appeared, gone and changed their
/// intents.
fn mixed(g: &Ground) {
    g.live("alive", "running");
    g.live("dead", "running");
    g.live("unwanted", "running");
    g.live("wanted", "stopped");
    vanish(&g.tree.profile_dir("dead"));
    g.intend("unwanted", "stopped");
    g.intend("wanted", "running");
    g.profile("fresh-up", "running").file("gateway.pid", "{\"pid\":1}").file("processes.json", "[]");
    g.profile("fresh-down", "stopped");
    g.profile("broken", "stopped").state("{\"desired_state\":\"runn");
    drop(g.tree.profile("blank").stand_in("silent=1\n"));
}
