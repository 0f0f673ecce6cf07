//! The completions, as the shells themselves apply them.

use crate::support::Tree;
use std::fs;
use std::os::unix::fs::chown;

/// A tree with the profiles `coder` and `cook`, of which `coder` has a slot, and with names that a shell would expand.
fn tree() -> Tree {
    let tree = Tree::new();
    for name in ["coder", "cook"] {
        tree.profile(name);
    }
    for name in ["co$(touch expanded)", "co`touch expanded`", "co;touch expanded", "-co", "co\nde"] {
        let dir = tree.home().join("profiles").join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("SOUL.md"), "odd\n").unwrap();
    }
    chown(tree.home().join("profiles"), Some(tree.uid), Some(tree.gid)).unwrap();
    fs::create_dir(tree.slot("coder")).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let text = tree.tool("hermes-s6").args(["--completions", shell]).run();
        assert_eq!((text.code, text.stderr.as_str()), (0, ""), "{text}");
        fs::write(tree.scratch().join(shell), text.stdout).unwrap();
    }
    tree
}

/// A command line, and what a shell offers for its last word.
const CASES: [(&str, &[&str]); 7] = [
    ("hermes-svc-start co", &["coder", "cook"]),
    ("hermes-svc-stop co", &["coder"]),
    ("hermes-svc-start -w de", &["default"]),
    ("hermes-port-alloc coo", &["cook"]),
    ("hermes-svc-logs --fo", &["--follow"]),
    ("hermes-svc-start --wait", &["--wait", "--wait-ready"]),
    ("hermes-detect-supervisor co", &[]),
];

#[test]
fn bash_offers_options_and_names_and_expands_none() {
    let tree = tree();
    for (line, wanted) in CASES {
        let script = format!(
            "source ./bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _hermes_s6; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let ran = tree.tool("bash").args(["--norc", "-c", &script]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        let offered: Vec<&str> = ran.stdout.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(offered, wanted, "{line}: {ran}");
    }
    assert!(!tree.scratch().join("expanded").exists());
}

#[test]
fn fish_offers_options_and_names_and_expands_none() {
    let tree = tree();
    for (line, wanted) in CASES {
        let script = format!("source ./fish; complete -C '{line}'");
        let fish = tree.tool("fish").env("HOME", tree.scratch()).args(["--no-config", "-c", &script]);
        let ran = fish.run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        let offered: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(offered, wanted, "{line}: {ran}");
    }
    assert!(!tree.scratch().join("expanded").exists());
}

/// zsh completes only what is typed at a terminal, so a terminal is what it gets. A key prints what is offered.
#[test]
fn zsh_offers_options_and_names_and_expands_none() {
    let tree = tree();
    fs::create_dir(tree.scratch().join("functions")).unwrap();
    fs::rename(tree.scratch().join("zsh"), tree.scratch().join("functions/_hermes-s6")).unwrap();
    let setup = r#"
        PS1= ; fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D
        # Keep what is offered for a function that the completion of every command ends in.
        compadd () {
            local -a found
            builtin compadd -O found "$@"
            (( $#found )) && print -rl -- $found >>offered
            builtin compadd "$@"
        }
        show () { : >offered; zle complete-word; mv offered done; zle kill-whole-line }
        zle -C complete-word .list-choices _main_complete; zle -N show; bindkey '^T' show
        : >ready
    "#;
    fs::write(tree.scratch().join("setup"), setup).unwrap();
    for (line, wanted) in CASES {
        let script = format!(
            "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'source ./setup'; until [[ -e ready ]]; do zpty -rt z _; sleep 0.01; done; \
             zpty -wn z $'{line}\\x14'; until [[ -e done ]]; do zpty -rt z _; sleep 0.01; done; zpty -d z; cat done; rm done ready"
        );
        let zsh = tree.tool("zsh").env("HOME", tree.scratch()).env("TERM", "dumb").args(["-f", "-c", &script]);
        let ran = zsh.run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        let mut offered: Vec<&str> = ran.stdout.lines().collect();
        offered.sort_unstable();
        offered.dedup();
        assert_eq!(offered, wanted, "{line}: {ran}");
    }
    assert!(!tree.scratch().join("expanded").exists());
}

#[test]
fn another_shell_is_wrong_usage() {
    let tree = Tree::new();
    for arguments in [&["--completions", "csh"][..], &["--completions"]] {
        tree.tool("hermes-s6").args(arguments).run().is(100, "", "hermes-s6: usage: *--completions bash | *\n");
    }
}
