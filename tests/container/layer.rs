//! The layer on an image that is laid out as Hermes Agent's own (image-build/upstream-layout). MODE=layer selects these
//! tests; the image under test is then that image with the layer, and the one of the same name with `-base` is the image
//! without.

use crate::engine::{Container, Volume, docker, image, run, until};
use std::collections::BTreeMap;

/// The files of an image outside the volume, each with its mode, owner and checksum.
fn files(image: &str) -> BTreeMap<String, String> {
    let list = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /opt/hermes/.venv -o -path /usr/lib \\) \
                -prune -o -printf '%p %M %u:%g %l ' -a \\( -type f -exec sha256sum {} \\; -o -printf '-\\n' \\)";
    let ran = run("docker", &["run", "--rm", "--entrypoint", "/bin/sh", image, "-c", list]);
    let lines = ran.out.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(path, rest)| (path.to_string(), rest.to_string())).collect()
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
    let ours =
        ["/etc/s6-overlay/s6-rc.d/", "/usr/local/bin/hermes-", "/usr/local/lib/hermes-s6", "/usr/local/share/man/"];
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
    let rights = "stat -c '%U %a' /run/service /run/service/dashboard/event /run/service/main-hermes/event
                  ps -o user= -p $(hermes-svc-status -j coder | jq .pid) 2>/dev/null || true";
    assert!(container.sh(rights).ok().starts_with("root 755\nroot 700\nroot 700"), "{}", container.sh(rights).ok());
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
    let up = "s6-svstat -o up,wantedup /run/service/gateway-coder && s6-svstat -o wantedup /run/service/gateway-writer";
    until("the image's own slots", 120, || container.sh(up).out == "true true\nfalse\n");
}
