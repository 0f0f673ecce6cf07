use crate::engine::{Container, Volume, once, own_run, until};

/// Start a container with these options. Returns `uid:gid` of the account, of the home, and of the gateway of default.
fn ids(options: &[&str]) -> [String; 3] {
    let volume = Volume::new();
    let at_home = volume.at_home();
    let mut all = vec!["-v", &at_home];
    all.extend(options);
    let container = Container::start(&all, &["sleep", "infinity"]);
    container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    let pid = container.status("default", "pid");
    [
        container.sh("echo $(id -u hermes):$(id -g hermes)").ok(),
        container.exec(&["stat", "-c", "%u:%g", "/opt/data"]).ok(),
        container.exec(&["stat", "-c", "%u:%g", &format!("/proc/{pid}")]).ok(),
    ]
}

/// Rows C3, C8 of docs/failures.md.
#[test]
fn hermes_uid_and_gid_are_the_accounts_the_homes_and_the_gateways() {
    assert_eq!(ids(&["-e", "HERMES_UID=1234", "-e", "HERMES_GID=1235"]), ["1234:1235"; 3]);
}

#[test]
fn puid_and_pgid_do_the_same_and_hermes_uid_wins() {
    assert_eq!(ids(&["-e", "PUID=99", "-e", "PGID=100"]), ["99:100"; 3]);
    assert_eq!(ids(&["-e", "PUID=99", "-e", "HERMES_UID=1234"]), ["1234:10000"; 3]);
}

#[test]
fn ids_that_somebody_else_has_will_do() {
    // These are the ids of www-data.
    assert_eq!(ids(&["-e", "HERMES_UID=33", "-e", "HERMES_GID=33"]), ["33:33"; 3]);
}

/// Rows C8, C13 of docs/failures.md.
#[test]
fn a_home_of_the_host_keeps_the_owners_of_what_is_not_ours() {
    let volume = Volume::new();
    volume.script_as(
        "root",
        "mkdir -p photos profiles/coder; echo x >photos/a; echo x >notes; echo soul >profiles/coder/SOUL.md
         chown 4321:4322 . profiles profiles/coder profiles/coder/SOUL.md; chown -R 5555:5556 photos notes",
    );
    let options = ["-v", &volume.at_home(), "-e", "HERMES_UID=4321", "-e", "HERMES_GID=4322"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    let owners = container.sh("cd /opt/data; stat -c %u:%g . photos photos/a notes profiles/coder").ok();
    assert_eq!(owners.lines().collect::<Vec<_>>(), ["4321:4322", "5555:5556", "5555:5556", "5555:5556", "4321:4322"]);
}

#[test]
fn files_that_root_left_in_a_profile_are_given_back_and_its_gateway_is_up() {
    let volume = Volume::with_profiles(&["coder"]);
    let container = Container::on(&volume);
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    container.sh("cd /opt/data/profiles/coder; cat SOUL.md >s; mv s SOUL.md; chown root:root SOUL.md .env; chmod 600 SOUL.md .env").code(0);
    crate::engine::docker(&["restart", "-t", "90", &container.name]).code(0);
    container.wait_for_boot(2);
    until("coder is up", 60, || container.state("coder") == "up");
    assert_eq!(container.sh("stat -c %U:%a /opt/data/profiles/coder/SOUL.md").ok(), "hermes:600");
    until("coder is healthy", 180, || container.healthy("coder"));
}

/// The value of one field of a record.
fn field<'a>(record: &'a str, name: &str) -> &'a str {
    record.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

/// Row H3 of docs/failures.md.
#[test]
fn a_hundred_thousand_files_that_are_right_are_left_as_they_are() {
    let volume = Volume::with_profiles(&["coder"]);
    volume.script(
        "cd profiles/coder; mkdir workspace; cd workspace
         for d in $(seq 100); do mkdir $d; (cd $d; seq 1000 | xargs touch); done; touch -d 2020-01-01 ../../stamp",
    );
    let container = Container::on(&volume);
    // The first run looks at the upper levels only.
    let runs = || container.logs().lines().filter(|l| l.starts_with("fix-attrs: done")).map(str::to_string).collect();
    until("hermes-fix-attrs has run twice", 120, || Vec::len(&runs()) == 2);
    let [first, line]: [String; 2] = runs().try_into().unwrap();
    assert!(field(&first, "checked").parse::<u32>().unwrap() < 1000, "{first}");
    assert!(line.contains(" updated=0 failed=0 "), "{line}");
    let checked: u32 = field(&line, "checked").parse().unwrap();
    assert!(checked > 100_000, "{line}");
    // Where nothing else is busy, this takes a sixth of a second. A recursive chown took minutes.
    let ms: u32 = field(&line, "ms").parse().unwrap();
    assert!(ms < 5000, "{line}");
    let changed = container.sh("find /opt/data/profiles/coder/workspace ! -user hermes | wc -l").ok();
    assert_eq!(changed, "0");
}

/// Rows A9, D3 of docs/failures.md.
#[test]
fn another_home_is_used_everywhere() {
    let volume = Volume::new();
    let options = ["-v", &volume.at("/srv/agent"), "-e", "HERMES_HOME=/srv/agent"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    assert_eq!(container.exec(&["stat", "-c", "%U", "/srv/agent"]).ok(), "hermes");
    container.exec(&["hermes", "profile", "create", "coder", "--no-alias"]).code(0);
    container.exec(&["hermes", "-p", "coder", "gateway", "start"]).code(0);
    let files =
        container.sh("ls /srv/agent/profiles/coder/SOUL.md /srv/agent/logs/container-boot.log; ls -A /opt/data").ok();
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        ["/srv/agent/logs/container-boot.log", "/srv/agent/profiles/coder/SOUL.md"]
    );
    // sshd and other programs take the home directory from there, and not from HOME.
    assert_eq!(container.sh("getent passwd hermes | cut -d: -f6").ok(), "/srv/agent");
}

/// `HERMES_HOME` is the directory of a named profile, as inside the gateway of that profile. The home is then the
/// volume, and `gateway run` means that profile.
#[test]
fn a_home_that_is_a_profiles_directory_means_its_home() {
    let volume = Volume::with_profiles(&["coder"]);
    let options = ["-v", &volume.at_home(), "-e", "HERMES_HOME=/opt/data/profiles/coder"];
    let container = Container::start(&options, &["gateway", "run"]);
    until("coder to be up", 120, || container.sh("hermes-svc-status -q coder").code == 0);
    assert_eq!(container.sh("readlink /run/service/gateway-coder/home").ok(), "/opt/data");
    assert_eq!(container.sh("getent passwd hermes | cut -d: -f6").ok(), "/opt/data");
    // The command was about coder, so no intent was recorded for default.
    assert_eq!(container.sh("hermes-svc-list -u; test ! -e /opt/data/profiles/coder/profiles").ok(), "coder");
}

/// `HERMES_HOME` is a link that belongs to root and leads to the mounted directory.
#[test]
fn a_home_behind_a_link_is_given_to_the_account() {
    let volume = Volume::new();
    let options = ["-v", &volume.at("/srv/agent"), "-e", "HERMES_HOME=/data", "--entrypoint", "/bin/sh"];
    let script = "ln -s /srv/agent /data; exec /init /opt/hermes/docker/main-wrapper.sh sleep infinity";
    let container = Container::start(&options, &["-c", script]);
    assert_eq!(container.sh("stat -c %U /data /srv/agent").ok(), "root\nhermes");
    assert_eq!(container.sh("stat -c %U /srv/agent/SOUL.md").ok(), "hermes");
    assert!(!container.logs().contains("SELinux"), "{}", container.logs());
}

#[test]
fn a_new_home_gets_its_first_files_and_an_old_one_keeps_its_own() {
    let volume = Volume::new();
    let first = Container::on(&volume);
    let seeded = first.sh("cd /opt/data; stat -c '%n %U %a' .env config.yaml SOUL.md").ok();
    assert_eq!(seeded.lines().collect::<Vec<_>>(), [".env hermes 600", "config.yaml hermes 640", "SOUL.md hermes 644"]);
    let key = first.sh("sed -n 's/^API_SERVER_KEY=//p' /opt/data/.env").ok();
    assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    first
        .sh_as_hermes("echo mine >/opt/data/SOUL.md; rm /opt/data/config.yaml; ln -s nowhere /opt/data/config.yaml")
        .code(0);
    drop(first);
    let second = Container::on(&volume);
    assert_eq!(
        second.sh("cat /opt/data/SOUL.md; readlink /opt/data/config.yaml; ls -A /opt/data | grep -c XX || true").ok(),
        "mine\nnowhere\n0"
    );
    assert_eq!(second.sh("sed -n 's/^API_SERVER_KEY=//p' /opt/data/.env").ok(), key);
}

/// Under these options, check that a gateway can be started, is ready, and can be stopped, and that the container can
/// be stopped. `also` is called while the container runs.
#[track_caller]
fn gateways_work_with_and(options: &[&str], also: impl Fn(&Container)) {
    let volume = Volume::with_profiles(&["coder"]);
    let at_home = volume.at_home();
    let mut all = vec!["-v", &at_home];
    all.extend(options);
    let container = Container::start(&all, &["sleep", "infinity"]);
    also(&container);
    container.start_ready(&["coder"]);
    assert!(container.healthy("coder"));
    container.exec(&["hermes-svc-stop", "-w", "coder"]).code(0);
    assert_eq!(container.state("coder"), "down");
    container.stop(90);
    assert_ne!(container.exit_code(), 137);
}

#[track_caller]
fn gateways_work_with(options: &[&str]) {
    gateways_work_with_and(options, |_| ());
}

/// Row C9 of docs/failures.md.
#[test]
fn it_runs_on_a_read_only_root() {
    gateways_work_with(&["--read-only", "--tmpfs", "/run:exec", "--tmpfs", "/tmp", "-e", "S6_READ_ONLY_ROOT=1"]);
}

/// Rows C7, C8 of docs/failures.md.
#[test]
fn it_runs_without_root() {
    gateways_work_with(&["--user", "10000:10000"]);
}

#[test]
fn it_runs_without_root_and_without_any_privilege() {
    let options = ["--user", "10000:10000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    gateways_work_with(&[&options[..], &own_run()].concat());
}

/// Row C9 of docs/failures.md.
#[test]
fn root_needs_five_capabilities_and_no_more() {
    let mut options = vec!["--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    for capability in ["CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"] {
        options.extend(["--cap-add", capability]);
    }
    gateways_work_with(&options);
}

/// The same under the options of deploy/kubernetes.yaml: /run is an emptyDir, to which everybody may write.
#[track_caller]
fn gateways_work_on_kubernetes(options: &[&str], also: impl Fn(&Container)) {
    let run = Volume::new();
    let somewhere = format!("{}:nocopy", run.at("/mnt"));
    once(&["-v", &somewhere, "--entrypoint", "chmod"], &["0777", "/mnt"]).code(0);
    let at_run = format!("{}:nocopy", run.at("/run"));
    let mut all = vec!["--read-only", "-e", "S6_READ_ONLY_ROOT=1", "-v", &at_run, "--tmpfs", "/tmp:exec"];
    all.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    all.extend(options);
    gateways_work_with_and(&all, also);
}

#[test]
fn on_kubernetes_root_keeps_the_run_directory_to_itself() {
    let mut options = vec![];
    for capability in ["CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"] {
        options.extend(["--cap-add", capability]);
    }
    gateways_work_on_kubernetes(&options, |container| {
        assert_eq!(container.exec(&["stat", "-c", "%U %a", "/run"]).ok(), "root 755");
        container.sh_as_hermes("! mv /run/service /run/mine").code(0);
    });
}

/// Row C9 of docs/failures.md.
#[test]
fn on_kubernetes_it_runs_without_root_where_the_run_directory_is_accepted() {
    let accepted = "S6_YES_I_WANT_A_WORLD_WRITABLE_RUN_BECAUSE_KUBERNETES=1";
    gateways_work_on_kubernetes(&["--user", "10000:10000", "-e", accepted], |_| ());
}

/// Row H5 of docs/failures.md.
#[test]
fn what_root_does_by_docker_exec_leaves_nothing_of_roots_on_the_volume() {
    let volume = Volume::new();
    let container = Container::on(&volume);
    container.exec(&["hermes", "profile", "create", "coder"]).code(0);
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    container.exec(&["hermes-svc-restart", "-w", "coder"]).code(0);
    container.exec(&["hermes-svc-stop", "-w", "coder"]).code(0);
    container.exec(&["hermes", "config", "set", "model.default", "none"]).code(0);
    container.exec(&["hermes-reconcile-all"]).code(0);
    assert_eq!(container.exec(&["find", "/opt/data", "-user", "root"]).ok(), "");
}

#[test]
fn without_s6_a_root_client_still_leaves_nothing_of_roots() {
    let volume = Volume::new();
    let options = ["-v", &volume.at_home(), "--entrypoint", "/opt/hermes/bin/hermes"];
    once(&options, &["profile", "create", "coder"]).code(0);
    assert_eq!(volume.script("find . ! -user hermes"), "");
}

/// Row C8 of docs/failures.md.
#[test]
fn ids_that_change_on_a_volume_in_use_take_along_what_was_the_accounts() {
    let volume = Volume::with_profiles(&["coder"]);
    let at_home = volume.at_home();
    for (options, ids) in [
        (&[][..], "10000:10000"),
        (&["-e", "HERMES_UID=1000", "-e", "HERMES_GID=1000"], "1000:1000"),
        (&["-e", "PUID=1001", "-e", "PGID=1001"], "1001:1001"),
        (&[], "10000:10000"),
    ] {
        let mut all = vec!["-v", &*at_home];
        all.extend(options);
        let container = Container::start(&all, &["sleep", "infinity"]);
        container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
        let owners = container.sh("find /opt/data -printf '%U:%G\n' | sort -u").ok();
        assert_eq!(owners, ids);
    }
}
