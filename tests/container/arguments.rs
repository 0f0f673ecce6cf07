//! An image that was built with build arguments. MODE=arguments selects these tests, and builds that image with the
//! arguments in image-build/image.mk.

use crate::engine::{Container, docker, image, once};

/// The version of Hermes Agent that `HERMES_VERSION` names.
const VERSION: &str = "0.18.2";
const PYTHON: &str = "/opt/hermes/.venv/bin/python";

#[test]
fn hermes_version_is_the_client_that_serves() {
    let label = "{{index .Config.Labels \"io.github.hermes-s6.hermes-agent\"}}";
    assert_eq!(docker(&["image", "inspect", "-f", label, &image()]).ok(), VERSION);
    let container = Container::start(&[], &["sleep", "infinity"]);
    assert!(container.exec(&["hermes", "--version"]).ok().contains(&format!("Hermes Agent v{VERSION}")));
    container.start_ready(&["default"]);
    assert!(container.healthy("default"));
    assert!(!container.logs().contains("warning"), "{}", container.logs());
    // Its skills are of the same release.
    let skills = container.sh("find /opt/data/skills -name SKILL.md | wc -l").ok();
    assert!(skills.parse::<u32>().unwrap() > 50, "{skills} skills");
}

#[test]
fn what_an_argument_of_0_leaves_out_is_not_there() {
    let script = "for program in npm npx docker; do ! command -v $program || exit 1; done";
    once(&["--entrypoint", "/bin/sh"], &["-c", script]).code(0);
}

#[test]
fn further_packages_are_there_for_the_agent() {
    once(&["--entrypoint", "/bin/sh"], &["-c", "command -v jq"]).code(0);
    once(&["--entrypoint", PYTHON], &["-c", "import cowsay"]).code(0);
}

#[test]
fn chromium_shows_a_page_to_the_account_and_the_client_finds_it() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    // The options that Hermes Agent gives it in a container.
    let page = "chromium --headless --no-sandbox --disable-dev-shm-usage --dump-dom 'data:text/html,<p>a page</p>'";
    assert!(container.sh_as_hermes(page).ok().contains("<p>a page</p>"));
    let found = "from tools.browser_tool import _chromium_installed as found; print(found())";
    assert_eq!(container.exec_as("hermes", &[PYTHON, "-c", found]).ok(), "True");
}
