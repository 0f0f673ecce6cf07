//! The tour of README.md, "Five minutes", typed as it is printed.

use crate::support::{Tree, free_port, glob, kill, processes_of};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// What a reader's fingers take the time for: s6-svscan listens, and every slot is supervised.
const PAUSE: &str = r#"until s6-svscanctl -a "$S6_PROFILE_GATEWAY_SCANDIR"; do sleep 0.01; done 2>/dev/null
for slot in "$S6_PROFILE_GATEWAY_SCANDIR"/gateway-*; do
    [ ! -e "$slot" ] || until s6-svstat "$slot" && s6-svstat "$slot/log"; do sleep 0.01; done >/dev/null 2>&1
done
"#;

/// A command of the tour, and what the README prints below it.
struct Step {
    command: String,
    output: String,
}

/// The commands of a section: the lines behind `$ `, each with the lines of its continuation behind `> `.
fn steps(readme: &str, section: &str) -> Vec<Step> {
    let text = readme.split("\n## ").find(|text| text.starts_with(section)).expect("the section");
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("```\n").skip(1).step_by(2).filter(|block| block.starts_with("$ ")) {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_string(), output: String::new() });
                continue;
            }
            let step = steps.last_mut().expect("a command");
            match line.strip_prefix("> ") {
                Some(more) => step.command += &format!("\n{more}"),
                None => step.output += &format!("{line}\n"),
            }
        }
    }
    steps
}

/// Each number as `#`, and each run of blanks as one blank, because the widths of columns depend on the numbers.
fn vague(text: &str) -> String {
    let mut vague = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if !(vague.ends_with(c) && (c == '#' || c == ' ')) {
            vague.push(c);
        }
    }
    vague.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_tour_of_the_readme_does_what_it_says() {
    let mut tree = Tree::new();
    let port = free_port();
    tree.env.push(("HERMES_PORT_RANGE".to_string(), format!("{port}-{}", port + 20)));
    tree.env.push(("HOME".to_string(), tree.scratch().display().to_string()));
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/stand-in-gateway");
    fs::copy(stand_in, tree.bin().join("hermes")).expect("the stand-in");
    let steps = steps(include_str!("../../README.md"), "Five minutes\n");
    assert!(steps.len() > 10, "{}", steps.len());
    let typed = |step: &Step| {
        let waits = step.command.ends_with('&') || step.command == "hermes-reconcile-all";
        format!("{}\n{}echo @@@\n", step.command, if waits { PAUSE } else { "" })
    };
    let script: String = steps.iter().map(typed).collect();
    let ran = tree.tool_as_account("bash").args(["-c", &script]).run();
    for process in processes_of(tree.root()).iter().filter(|p| p.comm == "s6-svscan") {
        kill(process.pid, Signal::TERM);
    }
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    let outputs: Vec<&str> = ran.stdout.split("@@@\n").collect();
    assert_eq!(outputs.len(), steps.len() + 1, "{ran}");
    let home = tree.scratch().display().to_string();
    for (step, output) in steps.iter().zip(outputs) {
        let output = output.replace(&home, "/home/you");
        let output = output.replace("\"stand-in\"", "\"hermes-agent\", \"version\": \"0.19.0\"");
        let same = step.output.is_empty() || glob(&vague(&step.output), &vague(&output));
        assert!(same, "{}\n---- README\n{}\n---- seen\n{output}", step.command, step.output);
    }
}
