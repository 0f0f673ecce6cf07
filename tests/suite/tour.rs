//! The tour of README.md, "Five minutes", typed as it is printed.

use crate::support::printed::{self, Step};
use crate::support::{Tree, free_port, kill, processes_of};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// What a reader's fingers take the time for: s6-svscan listens, and every slot is supervised.
const PAUSE: &str = r#"until s6-svscanctl -a "$S6_PROFILE_GATEWAY_SCANDIR"; do sleep 0.01; done 2>/dev/null
for slot in "$S6_PROFILE_GATEWAY_SCANDIR"/gateway-*; do
    [ ! -e "$slot" ] || until s6-svstat "$slot" && s6-svstat "$slot/log"; do sleep 0.01; done >/dev/null 2>&1
done
"#;

/// The commands of a section.
fn steps(readme: &str, section: &str) -> Vec<Step> {
    let text = readme.split("\n## ").find(|text| text.starts_with(section)).expect("the section");
    let blocks = text.split("```\n").skip(1).step_by(2).filter(|block| block.starts_with("$ "));
    blocks.flat_map(printed::steps).collect()
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
        assert!(step.prints(&output), "{}\n---- README\n{}\n---- seen\n{output}", step.command, step.output);
    }
}
