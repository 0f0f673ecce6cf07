//! The tools in scripts, as users write them: execline and shell, pipes, loops in cont-init scripts, and operands that
//! look like options.

use crate::support::{Ran, Tree, executable, preferred_port, wait_until};
use std::fs;

/// A tree with three profiles registered, `coder` up.
fn tree() -> Tree {
    let tree = Tree::up();
    for name in ["default", "coder", "writer"] {
        tree.profile(name);
    }
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    tree.wait_down("writer");
    tree
}

/// Run an execline script, written as a file.
fn execline(tree: &Tree, text: &str, args: &[&str]) -> Ran {
    let (line, rest) = text.split_once('\n').expect("a line");
    let options = line.strip_prefix("#!execlineb ").expect("a first line");
    let file = tree.script("script", &format!("#!/usr/bin/env -S execlineb {options}\n{rest}"));
    tree.tool("execlineb").arg(options).arg(&file).args(args).run()
}

/// Run a shell script, written as a file.
fn shell(tree: &Tree, text: &str, args: &[&str]) -> Ran {
    let file = tree.script("script.sh", &format!("#!/bin/sh -e\n{text}"));
    tree.tool(&file).args(args).run()
}

#[test]
fn a_port_chain_loads_a_program() {
    let tree = tree();
    tree.tool("hermes-port-alloc").args(["coder", "printenv", "API_SERVER_PORT"]).run().is(0, "9530\n", "");
    execline(&tree, "#!execlineb -P\nhermes-port-alloc coder\nprintenv API_SERVER_PORT\n", &[]).is(0, "9530\n", "");
    let text = "#!execlineb -P\nhermes-port-alloc -E PORT writer\nimportas -i PORT PORT\necho port is $PORT\n";
    execline(&tree, text, &[]).is(0, "port is 9685\n", "");
    // The exit code is the program's. 126 and 127 mean that the program was not executed.
    let chain = |args: &[&str]| tree.tool("hermes-port-alloc").arg("coder").args(args).run();
    chain(&["sh", "-c", "exit 7"]).is(7, "", "");
    chain(&["no-such-program-here"])
        .fails(127, "unable to *no-such-program-here: No such file or directory on the PATH *");
    chain(&["/etc/passwd"]).fails(126, "unable to *passwd: Permission denied: *");
    // If the tool fails, the program is not run.
    tree.tool("hermes-port-alloc").args(["nobody", "echo", "ran"]).run().fails(100, "no such profile: nobody*");
}

#[test]
fn a_script_asks_whether_s6_supervises() {
    let tree = tree();
    // s6 is not process 1 here, so the answer is no, and `if` stops.
    let text = "#!execlineb -P\nif { hermes-detect-supervisor -q }\necho supervised\n";
    execline(&tree, text, &[]).is(1, "", "");
    let text = "#!execlineb -P\nifelse -n { hermes-detect-supervisor -q } { echo alone }\necho supervised\n";
    execline(&tree, text, &[]).is(0, "alone\n", "");
    shell(&tree, "if hermes-detect-supervisor -q; then echo supervised; else echo alone; fi\n", &[])
        .is(0, "alone\n", "");
}

#[test]
fn the_list_feeds_a_loop() {
    let tree = tree();
    let text = "#!execlineb -P\npipeline { hermes-svc-list }\nforstdin -E p\nhermes-svc-restart ${p}\n";
    let stdout = "profile=default action=restarted\nprofile=coder action=restarted\nprofile=writer action=restarted\n";
    execline(&tree, text, &[]).is(0, stdout, "");
    ["default", "coder", "writer"].iter().for_each(|name| _ = tree.wait_up(name));
    shell(&tree, "hermes-svc-list -u | while read -r p; do hermes-svc-stop -w -- \"$p\"; done\n", &[]).is(
        0,
        &stdout.replace("restarted", "stopped"),
        "",
    );
    // xargs passes all names to one command.
    shell(&tree, "hermes-svc-list -d | xargs hermes-svc-start -w --\n", &[]).is(
        0,
        &stdout.replace("restarted", "started"),
        "",
    );
    shell(&tree, "hermes-svc-list -d | wc -l\n", &[]).is(0, "0\n", "");
}

#[test]
fn a_cont_init_loop_registers_one_after_another() {
    let tree = Tree::up();
    for name in ["default", "coder", "writer"] {
        tree.profile(name).intent("running");
    }
    let line = |name: &str| {
        format!(
            "reconcile: profile={name} prior_state=running action=started port={} prior_exit=unknown\n",
            preferred_port(name)
        )
    };
    let text = "#!execlineb -P\nforx -E p { default coder }\nhermes-reconcile-one -- ${p}\n";
    execline(&tree, text, &[]).is(0, &(line("default") + &line("coder")), "");
    let text =
        "for dir in \"$HERMES_HOME\"/profiles/*/; do\n  hermes-reconcile-one -- \"$(basename \"$dir\")\"\ndone\n";
    shell(&tree, text, &[]).is(0, &(line("coder").replace("started", "unchanged") + &line("writer")), "");
    ["default", "coder", "writer"].iter().for_each(|name| _ = tree.wait_up(name));
}

#[test]
fn codes_are_what_scripts_branch_on() {
    let tree = tree();
    let text = "hermes-svc-status -q coder && echo up\nhermes-svc-status -q writer || echo \"not up: $?\"\n\
                hermes-svc-stop nobody 2> /dev/null || echo \"refused: $?\"\nset +e\nhermes-svc-start -- -x 2> /dev/null\necho \"wrong: $?\"\n";
    let ran = shell(&tree, text, &[]);
    ran.is(0, "up\nnot up: 1\nrefused: 10*\nwrong: 100\n", "");
    // In execline a failure ends the chain, with its code.
    let text = "#!execlineb -P\nif { hermes-svc-status -q writer }\nhermes-svc-restart coder\n";
    let starts = tree.profile("coder").starts();
    execline(&tree, text, &[]).is(1, "", "");
    assert_eq!(tree.profile("coder").starts(), starts);
    execline(&tree, "#!execlineb -P\nifelse { hermes-svc-status -q coder } { echo yes }\necho no\n", &[])
        .is(0, "yes\n", "");
}

#[test]
fn a_script_hands_on_whatever_it_is_given() {
    let tree = tree();
    let text = "#!execlineb -S1\nif { hermes-svc-register -- $1 }\nhermes-svc-start -w -- $1\n";
    let stdout = "profile=writer action=unchanged port=9685\nprofile=writer action=started\n";
    execline(&tree, text, &["writer"]).is(0, stdout, "");
    for hostile in ["-n", "--help", "-H/etc", "$(reboot)", "a b", "../../etc", ""] {
        let ran = execline(&tree, text, &[hostile]);
        ran.is(100, "", "hermes-svc-register: fatal: invalid profile name *\n");
        let ran = shell(&tree, "hermes-svc-start -w -- \"$1\"\n", &[hostile]);
        ran.is(100, "", "hermes-svc-start: fatal: invalid profile name *\n");
    }
}

/// Row H10 of docs/failures.md.
#[test]
fn a_pass_is_checked_by_grep_and_by_its_last_line() {
    let tree = tree();
    shell(&tree, "hermes-reconcile-all -n | grep -v action=unchanged\n", &[]).is(
        0,
        "reconcile: done profiles=3 *\n",
        "",
    );
    // A script that waits for the boot pass can look for its last line.
    let text = "tail -n 1 \"$HERMES_HOME/logs/container-boot.log\" | cut -d ' ' -f 2-3\n";
    shell(&tree, text, &[]).is(0, "done profiles=3\n", "");
    shell(&tree, "grep -c 'profile=default ' \"$HERMES_HOME/logs/container-boot.log\"\n", &[]).is(0, "1\n", "");
}

#[test]
fn records_are_cut_by_shell_and_read_as_json() {
    let tree = tree();
    let text = "line=$(hermes-svc-register writer)\nport=${line##*port=}\necho \"$port\"\n";
    shell(&tree, text, &[]).is(0, "9685\n", "");
    let ran = tree.tool("hermes-svc-status").arg("-j").run();
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran}");
    for line in ran.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        assert!(object.is_object() && object["profile"].is_string(), "{ran}");
    }
}

#[test]
fn a_template_may_run_something_else() {
    // With a user's own template, run-gateway executes the program that the run script names.
    let tree = Tree::up();
    let template = tree.template().with_file_name("own");
    fs::create_dir(&template).expect("mkdir");
    let run = "#!/bin/sh\nexec 2>&1\nexec hermes-run-gateway -P \"${1#gateway-}\" sh -c 'echo $$ > \"$HERMES_HOME/profiles/coder/own\"; exec sleep 1000'\n";
    executable(&template.join("run"), run);
    let profile = tree.profile("coder");
    let ran = tree.tool("hermes-svc-register").args(["-u", "-T"]).arg(&template).arg("coder").run();
    ran.is(0, "profile=coder action=registered port=9530\n", "");
    wait_until("it to run", || {
        profile.read("own").trim().parse::<u32>().ok().is_some_and(|pid| tree.gateway("coder") == Some(pid))
    });
}
