//! Other things in place of files and directories on the volume.

use super::ground::{Ground, KINDS, Kind, Mischief, runs};
use crate::support::Tree;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The files of a profile that the tools read or write.
const IN_PROFILE: [&str; 12] = [
    "gateway_state.json",
    ".env",
    "config.yaml",
    "gateway.pid",
    "processes.json",
    "state",
    ".gateway-planned-stop.json",
    ".hermes-s6.intent.lock",
    ".hermes-s6.gateway.lock",
    "logs",
    "SOUL.md",
    "gateway_state.json.bad",
];

/// The files of the home that the tools read or write.
const IN_HOME: [&str; 8] = [
    "gateway_ports.json",
    "gateway_ports.json.bad",
    ".hermes-s6.ports.lock",
    "logs/container-boot.log",
    "logs/container-boot.log.1",
    "logs/gateways/coder",
    "logs/gateways",
    "logs",
];

/// Run every tool that touches the volume, as root. Whatever is there, each must exit with a code of its page: done,
/// no, timed out, no such profile, wrong state, or failed.
fn play(ground: &Ground) {
    for line in [
        "hermes-reconcile-all -t 3000",
        "hermes-svc-register -t 3000 coder",
        "hermes-svc-start -t 3000 coder",
        "hermes-port-alloc coder",
        "hermes-port-alloc -l",
        "hermes-svc-status -j",
        "hermes-svc-status -x",
        "hermes-svc-restart -t 3000 coder",
        "hermes-svc-stop -w -t 3000 coder",
        "hermes-fix-attrs",
        "hermes-reconcile-one -t 3000 coder",
        "hermes-svc-unregister -t 3000 coder",
    ] {
        let start = Instant::now();
        let ran = ground.tool(line);
        assert!([0, 1, 99, 100, 102, 111].contains(&ran.code), "{ran}");
        assert!(start.elapsed() < Duration::from_secs(40), "{ran}");
    }
}

/// Check that no file on the volume belongs to root, lock files included.
fn nothing_is_roots(tree: &Tree, ground: &Ground) {
    use std::os::unix::fs::MetadataExt as _;
    let mut todo = vec![tree.home()];
    while let Some(path) = todo.pop() {
        // The file may have vanished, because a gateway runs.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        assert_ne!(meta.uid(), 0, "root left {}", path.display());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    ground.unharmed();
}

fn planted(kind: Kind, names: &[&str], dir: impl Fn(&Ground) -> PathBuf) {
    for name in names {
        let ground = Ground::new();
        runs(&ground.tree, "coder");
        let path = dir(&ground).join(name);
        let parent = path.parent().expect("a directory");
        let home = ground.tree.home();
        for below in parent.ancestors().take_while(|p| p.starts_with(&home)).collect::<Vec<_>>().into_iter().rev() {
            if !below.exists() {
                fs::create_dir(below).expect("directory");
                ground.give(below);
            }
        }
        ground.plant(kind, &path);
        play(&ground);
        nothing_is_roots(&ground.tree, &ground);
    }
}

macro_rules! planted {
    ($($in_profile:ident, $in_home:ident: $kind:expr;)*) => { $(
        #[test]
        fn $in_profile() {
            planted($kind, &IN_PROFILE, |g| g.tree.profile_dir("coder"));
        }

        #[test]
        fn $in_home() {
            planted($kind, &IN_HOME, |g| g.tree.home());
        }
    )* };
}

planted! {
    no_link_to_a_file_in_a_profile_is_followed, no_link_to_a_file_in_the_home_is_followed: Kind::LinkToFile;
    no_link_to_a_directory_in_a_profile_is_followed, no_link_to_a_directory_in_the_home_is_followed: Kind::LinkToDir;
    no_dangling_link_in_a_profile_is_followed, no_dangling_link_in_the_home_is_followed: Kind::LinkToNothing;
    no_fifo_in_a_profile_blocks, no_fifo_in_the_home_blocks: Kind::Fifo;
}

/// For each kind, all files are replaced by a thing of this kind at once.
#[test]
fn odd_things_in_every_place_at_once_harm_nobody() {
    for kind in KINDS {
        let ground = Ground::new();
        let profile = runs(&ground.tree, "coder");
        for name in IN_PROFILE.iter().filter(|name| **name != "SOUL.md") {
            ground.plant(kind, &profile.dir.join(name));
            ground.plant(kind, &ground.tree.home().join(name));
        }
        ground.plant(kind, &ground.tree.home().join("gateway_ports.json"));
        ground.plant(kind, &ground.tree.home().join(".hermes-s6.ports.lock"));
        play(&ground);
        nothing_is_roots(&ground.tree, &ground);
    }
}

#[test]
fn odd_things_in_the_place_of_profiles_harm_nobody() {
    for kind in KINDS {
        for name in ["profiles/coder", "profiles"] {
            let ground = Ground::new();
            runs(&ground.tree, "coder");
            ground.tool("hermes-svc-register coder").is(0, "profile=coder action=registered *\n", "");
            ground.plant(kind, &ground.tree.home().join(name));
            play(&ground);
            ground.unharmed();
        }
    }
}

/// Let the account exchange good and bad entries as fast as it can, while root's tools run.
fn swapped(prepare: impl Fn(&Ground) -> Vec<Mischief>) {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    runs(&ground.tree, "writer");
    ground.tool("hermes-reconcile-all -w");
    let mischief = prepare(&ground);
    let mut passes = 0;
    while passes < 12 || mischief.iter().any(|one| one.rounds() <= 1000) {
        passes += 1;
        for line in [
            "hermes-reconcile-all -t 2000",
            "hermes-svc-stop -t 2000 coder",
            "hermes-svc-start -t 2000 coder",
            "hermes-port-alloc -d coder",
            "hermes-port-alloc coder",
            "hermes-svc-status -x",
            "hermes-fix-attrs",
        ] {
            let ran = ground.tool(line);
            assert!([0, 1, 99, 100, 102, 111].contains(&ran.code), "{ran}");
        }
    }
    drop(mischief);
    ground.unharmed();
}

/// All things are planted before the first exchange, because an exchange may move a directory in which something has
/// yet to be planted.
fn swap_all(ground: &Ground, names: &[(Kind, &str)]) -> Vec<Mischief> {
    let mut pairs = Vec::new();
    for (kind, name) in names {
        let path = ground.tree.home().join(name);
        let bad = path.with_file_name(format!("bad-{}", path.file_name().expect("a name").to_string_lossy()));
        ground.plant(*kind, &bad);
        pairs.push((path, bad));
    }
    pairs.iter().map(|(path, bad)| ground.swap(path, bad)).collect()
}

#[test]
fn a_profile_swapped_with_a_link_in_a_loop_harms_nobody() {
    swapped(|ground| swap_all(ground, &[(Kind::LinkToDir, "profiles/coder")]));
}

#[test]
fn all_profiles_swapped_with_a_link_in_a_loop_harm_nobody() {
    swapped(|ground| swap_all(ground, &[(Kind::LinkToDir, "profiles")]));
}

#[test]
fn the_logs_swapped_with_a_link_in_a_loop_harm_nobody() {
    swapped(|ground| swap_all(ground, &[(Kind::LinkToFile, "logs/container-boot.log"), (Kind::LinkToDir, "logs")]));
}

/// Row H2 of docs/failures.md.
#[test]
fn files_swapped_with_links_and_fifos_in_a_loop_harm_nobody() {
    swapped(|ground| {
        for name in [".env", "config.yaml"] {
            let path = ground.tree.profile_dir("coder").join(name);
            fs::write(&path, "").expect("file");
            ground.give(&path);
        }
        swap_all(
            ground,
            &[
                (Kind::LinkToFile, "profiles/coder/gateway_state.json"),
                (Kind::Fifo, "profiles/coder/.env"),
                (Kind::LinkToFile, "profiles/coder/.hermes-s6.intent.lock"),
                (Kind::LinkToFile, "gateway_ports.json"),
                (Kind::Directory, "profiles/coder/config.yaml"),
            ],
        )
    });
}

/// Rows H1, H5 of docs/failures.md.
#[test]
fn what_root_leaves_on_the_volume_is_the_accounts() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    play(&ground);
    nothing_is_roots(&ground.tree, &ground);
    assert!(Path::new(&ground.tree.home().join("logs/container-boot.log")).exists());
}
