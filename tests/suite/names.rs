//! Every form of invalid name, against every tool that takes one.

use crate::support::{Tree, snapshot};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// The invalid forms of names, each with the reason why it is tested.
const INVALID: [(&[u8], &str); 13] = [
    (b"", "empty"),
    (b"Coder", "upper case"),
    (b"a/b", "a path"),
    (b"..", "the parent"),
    (b".", "the directory itself"),
    (b"-x", "like an option"),
    (b"_x", "Hermes Agent's scaffolding"),
    (b"a b", "a blank"),
    (b"a.b", "a dot"),
    (b"a\nb", "a newline"),
    (&[b'a'; 65], "65 bytes"),
    (b"a\xff", "invalid UTF-8"),
    ("caf\u{e9}".as_bytes(), "UTF-8, but not ASCII"),
];

/// Check that this tool refuses the name: with 100, or with its code for a permanent error; with one line that names
/// the verb and the object; and without changing anything.
#[track_caller]
fn refuses_invalid_names(tool: &str, options: &[&str], code: i32) {
    let tree = Tree::new();
    tree.profile("default").intent("running");
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for (name, what) in INVALID {
        let ran = tree.tool(tool).args(options).arg("--").arg(OsStr::from_bytes(name)).run();
        assert_eq!(ran.stderr.lines().count(), 1, "{what}: {ran}");
        assert!(!ran.stderr.bytes().any(|b| b.is_ascii_control() && b != b'\n'), "{what}: {ran}");
        ran.fails(code, "invalid profile name \"*\"*");
    }
    before.still_holds();
}

#[test]
fn register_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-register", &["-u"], 100);
}

#[test]
fn unregister_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-unregister", &[], 100);
}

#[test]
fn start_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-start", &[], 100);
}

#[test]
fn stop_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-stop", &[], 100);
}

#[test]
fn restart_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-restart", &[], 100);
}

#[test]
fn status_refuses_invalid_names() {
    refuses_invalid_names("hermes-svc-status", &["-q"], 100);
}

#[test]
fn reconcile_one_refuses_invalid_names() {
    refuses_invalid_names("hermes-reconcile-one", &[], 100);
}

#[test]
fn port_alloc_refuses_invalid_names() {
    refuses_invalid_names("hermes-port-alloc", &[], 100);
    refuses_invalid_names("hermes-port-alloc", &["-p"], 100);
    refuses_invalid_names("hermes-port-alloc", &["-d"], 100);
}

#[test]
fn gateway_ready_refuses_invalid_names() {
    refuses_invalid_names("hermes-gateway-ready", &[], 100);
}

#[test]
fn run_gateway_refuses_invalid_names() {
    // Wrong usage has the code 100 here as well. The template's finish takes it for a permanent error, like 78.
    refuses_invalid_names("hermes-run-gateway", &[], 100);
}

#[test]
fn a_name_of_64_bytes_is_valid() {
    let tree = Tree::new();
    let name = "a".repeat(64);
    tree.tool("hermes-port-alloc").args(["-p", &name]).run().is(0, "9*\n", "");
}

#[test]
fn no_name_at_all_is_wrong_usage_and_so_is_one_too_many() {
    let tree = Tree::new();
    for tool in [
        "hermes-svc-register",
        "hermes-svc-unregister",
        "hermes-reconcile-one",
        "hermes-port-alloc",
        "hermes-gateway-ready",
        "hermes-run-gateway",
        "hermes-svc-start",
        "hermes-svc-stop",
        "hermes-svc-restart",
    ] {
        tree.tool(tool).run().is(100, "", &format!("{tool}: fatal: no profile given\n{tool}: usage: {tool} *\n"));
    }
    for tool in ["hermes-svc-register", "hermes-svc-unregister", "hermes-reconcile-one"] {
        let words = format!("{tool}: fatal: an operand too many: b\n{tool}: usage: {tool} *\n");
        tree.tool(tool).args(["a", "b"]).run().is(100, "", &words);
    }
    for tool in ["hermes-reconcile-all", "hermes-svc-list", "hermes-detect-supervisor", "hermes-fix-attrs"] {
        let words = format!("{tool}: fatal: an operand too many: a\n{tool}: usage: {tool} *\n");
        tree.tool(tool).arg("a").run().is(100, "", &words);
    }
    for tool in ["hermes-svc-start", "hermes-svc-stop", "hermes-svc-restart"] {
        let words = format!("{tool}: fatal: -a acts on all profiles, and takes no operand: coder\n{tool}: usage: *\n");
        tree.tool(tool).args(["-a", "coder"]).run().is(100, "", &words);
    }
}
