//! Other things in place of files and directories on the volume, while root works there: by the boot's scripts, the
//! boot pass, the watcher, and the tools by `docker exec`.

use super::{Siege, clean};
use crate::engine::{Container, until};

/// The paths in a home at which root's programs look for files. The profile coder is there because it has a SOUL.md.
const PLACES: [&str; 20] = [
    "gateway_ports.json",
    "gateway_state.json",
    ".env",
    "config.yaml",
    ".hermes-s6.ports.lock",
    ".hermes-s6.intent.lock",
    "cron",
    "logs/container-boot.log",
    "logs/container-boot.log.1",
    "logs/gateways/coder",
    "profiles/coder/gateway_state.json",
    "profiles/coder/.env",
    "profiles/coder/config.yaml",
    "profiles/coder/gateway.pid",
    "profiles/coder/processes.json",
    "profiles/coder/logs",
    "profiles/coder/state",
    "profiles/coder/.hermes-s6.intent.lock",
    "profiles/coder/.hermes-s6.gateway.lock",
    "profiles/coder/.gateway-planned-stop.json",
];

/// The directories that contain these paths.
const DIRECTORIES: [&str; 5] = ["logs", "logs/gateways", "profiles/coder/SOUL.md", "profiles/coder", "profiles"];

/// Shell commands that make `$1` something else. They run with the account's rights.
const FILE: &str = "ln -s /srv/canary/file \"$1\"";
const DIRECTORY: &str = "ln -s /srv/canary/dir \"$1\"";
const NOTHING: &str = "ln -s /srv/canary/made \"$1\"";
const FIFO: &str = "mkfifo \"$1\"";
const HARD: &str = "echo x >/opt/data/linked; ln -f /opt/data/linked \"$1\"";
const UP: &str = "ln -s ../../../../../srv/canary/dir \"$1\"";

/// Run every tool of root. The commands may fail, because the profile is under attack, but none may wait for long.
fn play(siege: &Siege) {
    for (program, arguments) in [
        ("hermes-fix-attrs", &[][..]),
        ("hermes-reconcile-all", &["-t", "3000"]),
        ("hermes-svc-register", &["-t", "3000", "coder"]),
        ("hermes-svc-start", &["-t", "3000", "coder"]),
        ("hermes-svc-restart", &["-t", "3000", "coder"]),
        ("hermes-svc-status", &["-x"]),
        ("hermes-port-alloc", &["coder"]),
        ("hermes-port-alloc", &["-d", "coder"]),
        ("hermes-svc-stop", &["-t", "3000", "coder"]),
        ("hermes-svc-unregister", &["-t", "3000", "coder"]),
        ("hermes-reconcile-one", &["-t", "3000", "coder"]),
    ] {
        let ran = siege.root(program, arguments);
        assert!([0, 1, 99, 100, 102, 111].contains(&ran.code), "{ran:?}");
    }
}

/// Put the thing in all of these places. Then run the tools and restart the container, and check that no harm was done
/// and that another profile still works.
fn planted(what: &str, places: &[&str]) {
    let siege = Siege::of(&["coder", "writer"]);
    let mut script = format!("plant() {{ mkdir -p \"$(dirname \"$1\")\"; rm -rf \"$1\"; {what}; }}\ncd /opt/data\n");
    for place in places {
        script += &format!("plant {place}\n");
    }
    siege.container.sh_as_hermes(&script).code(0);
    play(&siege);
    siege.restart();
    siege.root("hermes-reconcile-all", &["-t", "3000"]);
    siege.unharmed();
    if !places.contains(&"profiles") {
        siege.root("hermes-svc-restart", &["-w", "writer"]).code(0);
        assert_eq!(siege.container.state("writer"), "up");
    }
}

macro_rules! planted {
    ($($name:ident: $what:expr;)*) => { $(
        #[test]
        fn $name() {
            planted($what, &PLACES);
        }
    )* };
}

planted! {
    links_to_a_file_lead_root_nowhere: FILE;
    links_to_a_directory_lead_root_nowhere: DIRECTORY;
    links_to_nothing_make_root_make_nothing: NOTHING;
    links_upwards_lead_root_nowhere: UP;
    fifos_keep_root_from_nothing: FIFO;
    hard_links_give_nothing_away: HARD;
}

#[test]
fn things_in_the_place_of_directories_lead_root_nowhere() {
    for place in DIRECTORIES {
        planted(DIRECTORY, &[place]);
    }
}

#[test]
fn fifos_in_the_place_of_directories_keep_root_from_nothing() {
    for place in DIRECTORIES {
        planted(FIFO, &[place]);
    }
}

/// A Python program that exchanges the two names of each pair, as fast as it can.
const SWAP: &str = r#"
import ctypes, os, sys
rename = ctypes.CDLL(None).renameat2
pairs = [(a.encode(), b.encode()) for a, b in (pair.split("=") for pair in sys.argv[1:])]
rounds = 0
while True:
    for a, b in pairs:
        rename(-100, a, -100, b, 2)
    rounds += 1
    if rounds % 256 == 0:
        # The file is replaced by a rename, so that a reader finds the old number or the new one.
        with open("/tmp/rounds.new", "w") as file:
            file.write(str(rounds))
        os.rename("/tmp/rounds.new", "/tmp/rounds")
"#;

/// Exchange good and bad entries in a loop. A second container on the same volume does this, so that the loop goes on
/// while the first container restarts.
fn swapped(what: &str, places: &[&str]) {
    let siege = Siege::of(&["coder", "writer"]);
    let mut script =
        format!("plant() {{ {what}; }}\ncd /opt/data\nmkdir -p cron logs/gateways/coder profiles/coder/logs\n");
    let mut pairs = Vec::new();
    for place in places {
        script += &format!("[ -e {place} ] || echo '{{}}' >{place}; plant {place}.bad\n");
        pairs.push(format!("/opt/data/{place}=/opt/data/{place}.bad"));
    }
    siege.container.sh_as_hermes(&script).code(0);
    let other = Container::start(
        &["-v", &siege.volume.at_home(), "-e", "HERMES_SKIP_PROFILE_RECONCILE=1"],
        &["sleep", "infinity"],
    );
    // The bad entries lead to a canary. The second container needs one as well.
    other.sh("mkdir -p /srv/canary/dir; echo >/srv/canary/file").code(0);
    let command = [&["python3", "-c", SWAP], &pairs.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    other.detach_as("hermes", &command);
    let rounds = || other.sh("cat /tmp/rounds 2>/dev/null || echo 0").ok().parse::<u64>().expect("a number");
    until("the swapping has begun", 30, || rounds() > 0);
    for _ in 0..2 {
        play(&siege);
        siege.restart();
    }
    assert!(rounds() > 1000, "{}", rounds());
    drop(other);
    siege.unharmed();
    clean(&siege.container.logs().replace('\r', ""));
    // When the swapping has ended, everything works again.
    for place in places {
        let back = format!("cd /opt/data; [ ! -h {place} ] || {{ rm {place}; mv {place}.bad {place}; }}");
        siege.container.sh_as_hermes(&back).code(0);
    }
    // The watcher sees the profile at its next rescan at the latest.
    until("writer has its slot", 40, || siege.root("hermes-svc-list", &[]).out.contains("writer"));
    siege.root("hermes-svc-start", &["-w", "writer"]).code(0);
}

#[test]
fn files_swapped_in_a_loop_lead_root_nowhere() {
    let files: Vec<&str> = PLACES.into_iter().filter(|place| !place.contains("logs") && *place != "cron").collect();
    swapped(FILE, &files);
}

#[test]
fn logs_swapped_in_a_loop_lead_root_nowhere() {
    swapped(DIRECTORY, &["logs/gateways/coder", "logs/gateways", "logs", "cron", "profiles/coder/logs"]);
    swapped(FILE, &["logs/container-boot.log"]);
}

#[test]
fn profiles_swapped_in_a_loop_lead_root_nowhere() {
    swapped(DIRECTORY, &["profiles/coder/SOUL.md", "profiles/coder"]);
}

#[test]
fn the_directory_of_all_profiles_swapped_in_a_loop_leads_root_nowhere() {
    swapped(DIRECTORY, &["profiles"]);
}

/// A chown by name, as boots used to do it, gives a file of root away. So the attack of the other tests is a real one.
#[test]
fn a_chown_by_name_would_give_a_swapped_file_away() {
    let siege = Siege::of(&["coder"]);
    siege.container.sh_as_hermes("cd /opt/data; echo '{}' >good; ln -s /srv/canary/file bad").code(0);
    siege.container.detach_as("hermes", &["python3", "-c", SWAP, "/opt/data/good=/opt/data/bad"]);
    until("the swapping has begun", 30, || siege.container.sh("[ -s /tmp/rounds ]").code == 0);
    let naive = "for i in $(seq 100); do [ ! -f /opt/data/good ] || [ -h /opt/data/good ] || chown hermes: /opt/data/good; done; true";
    until("the canary is given away", 60, || {
        siege.container.sh(naive).code(0);
        siege.container.exec(&["stat", "-c", "%U", "/srv/canary/file"]).ok() == "hermes"
    });
}
