//! The layer on an image that is laid out as Hermes Agent's own (image-build/upstream-layout). MODE=layer selects these
//! tests; the image under test is then that image with the layer, and the one of the same name with `-base` is the image
//! without.

use crate::engine::{Container, Volume, docker, image, until};
use std::collections::BTreeMap;

/// What is in the directories of an image that the layer could change, each entry with its kind, mode, owner, target and
/// checksum.
fn files(image: &str) -> BTreeMap<String, String> {
    let list = "find /etc /init /opt/hermes /usr/local -path /opt/hermes/.venv -prune -o -printf '%p %M %u:%g %l\\n'
                find /etc /init /opt/hermes /usr/local -path /opt/hermes/.venv -prune -o -type f -exec sha256sum {} +";
    let ran = docker(&["run", "--rm", "--entrypoint", "/bin/sh", image, "-ec", list]).code(0);
    let mut files = BTreeMap::<String, String>::new();
    for line in ran.out.lines() {
        let (path, fact) = match line.split_once("  ") {
            Some((sum, path)) if sum.len() == 64 => (path, sum),
            _ => line.split_once(' ').unwrap_or((line, "")),
        };
        files.entry(path.to_string()).or_default().push_str(fact);
    }
    files
}

/// The files in the tarball that the base image has as well.
const REPLACED: [&str; 3] =
    ["/etc/cont-init.d/015-supervise-perms", "/etc/cont-init.d/02-reconcile-profiles", "/opt/hermes/bin/hermes"];

#[test]
fn the_layer_replaces_three_files_and_changes_nothing_else() {
    let (before, after) = (files(&format!("{}-base", image())), files(&image()));
    // The engine writes these itself.
    let own = |path: &&String| !["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&path.as_str());
    let changed: Vec<_> =
        before.iter().filter(|(path, was)| after.get(*path) != Some(*was)).map(|(path, _)| path).collect();
    assert_eq!(changed.into_iter().filter(own).collect::<Vec<_>>(), REPLACED);
    let added: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).filter(own).collect();
    let ours = ["/etc/s6-overlay/s6-rc.d/", "/usr/local/bin/hermes-", "/usr/local/lib/hermes-s6", "/usr/local/share/"];
    let foreign: Vec<_> = added.iter().filter(|path| !ours.iter().any(|prefix| path.starts_with(prefix))).collect();
    assert_eq!(foreign, Vec::<&&String>::new());
    assert!(added.len() > 60, "{added:?}");
}

/// The scandir and the static services are root's, the client's commands go through the tools, and the gateways that
/// were up come back after a restart of the container.
#[test]
fn gateways_are_supervised_sealed_and_come_back() {
    let volume = Volume::with_profiles(&["coder", "writer"]);
    let container = Container::on(&volume);
    container.exec(&["hermes", "-p", "coder", "gateway", "start"]).code(0);
    container.start_ready(&["coder"]);
    assert!(container.healthy("coder"));
    let open = "find /run/service/ -maxdepth 0 -perm /022 -o -maxdepth 0 ! -user root
                find -L /run/service/dashboard/event /run/service/main-hermes/event -maxdepth 0 '(' -perm /077 -o ! -user root ')'";
    assert_eq!(container.sh(open).ok(), "");
    container.exec_as("hermes", &["sh", "-c", "touch /run/service/x"]).code(1);
    container.exec_as("hermes", &["hermes", "profile", "create", "late", "--no-alias"]).code(0);
    until("the slot of a new profile", 20, || container.exec(&["hermes-svc-list"]).ok().contains("late"));

    docker(&["restart", "-t", "90", &container.name]).code(0);
    container.wait_for_boot(2);
    until("coder is healthy", 240, || container.healthy("coder"));
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "coder");
    assert_eq!(container.intent("coder"), "running");
    container.exec(&["hermes-detect-supervisor"]).code(0);
}

/// `gateway run` as the container's command starts the supervised gateway of `default`.
#[test]
fn gateway_run_starts_the_supervised_gateway() {
    let container = Container::start(&[], &["gateway", "run"]);
    until("default is up", 120, || container.state("default") == "up");
    assert_eq!(container.intent("default"), "running");
}

/// s6-overlay has its bundles among the services, and from 3.2.3.2 on in a directory of their own. The image under test
/// has them in the old place.
#[test]
fn the_layers_services_come_up_wherever_the_image_has_its_bundles() {
    let moved =
        "cd /etc/s6-overlay; mv s6-rc.d/user user-bundles.d/; exec /opt/hermes/docker/entrypoint-dispatch.sh \"$@\"";
    let entry_point = ["--entrypoint", "/bin/sh"];
    let old = Container::start(&[], &["sleep", "infinity"]);
    let new = Container::launch(&entry_point, &["-ec", moved, "sh", "sleep", "infinity"]);
    new.wait_for_boot(1);
    for container in [&old, &new] {
        for service in ["hermes-profile-watch", "main-hermes"] {
            let up = format!("/command/s6-svstat -o wantedup /run/service/{service}");
            until(&format!("{service} is wanted"), 60, || container.sh(&up).out == "true\n");
        }
    }
    new.wait_for_log("dashboard: info: off");
    assert!(!new.logs().contains("is deprecated"), "{}", new.logs());
    // The service that drains the gateways is up, so a stop of the container runs its script.
    new.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    new.stop(90);
    assert!(new.logs().contains("profile=default action=stopped"), "{}", new.logs());
}

/// To take the layer out again is to run the base image on the same volume.
#[test]
fn without_the_layer_the_image_is_what_it_was() {
    let volume = Volume::with_profiles(&["coder", "writer"]);
    let container = Container::on(&volume);
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    container.stop(90);
    drop(container);
    let base = format!("{}-base", image());
    let container = Container::of(&base, &["-v", &volume.at_home()], &["sleep", "infinity"]);
    let up = "cd /run/service; /command/s6-svstat -o up,wantedup gateway-coder; /command/s6-svstat -o wantedup gateway-writer";
    until("the image's own slots", 120, || container.sh(up).out == "true true\nfalse\n");
}
