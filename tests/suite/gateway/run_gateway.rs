use super::ground::{GID, Ground, UID, ended};
use crate::support::{executable, kill, start_time, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Stdio};

const TOOL: &str = "hermes-run-gateway";

/// The variables in a text in which NULs separate them.
fn environment(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('\0').filter(|p| !p.is_empty()).filter_map(|p| p.split_once('='));
    pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn get<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Make a directory with a file for each of these variables. It belongs to root.
fn envdir(path: &Path, variables: &[(&str, &str)]) {
    fs::create_dir(path).unwrap();
    for (name, value) in variables {
        fs::write(path.join(name), value).unwrap();
    }
}

/// Make a directory like that of a slot, in which `run` would be started, with these variables in its `env/`.
fn slot(ground: &Ground, variables: &[(&str, &str)]) -> std::path::PathBuf {
    let slot = ground.dir().join("slot");
    fs::create_dir_all(slot.join("supervise")).unwrap();
    envdir(&slot.join("env"), variables);
    slot
}

/// Rows B4, D1, F5 of docs/failures.md.
#[test]
fn what_will_never_work_is_78_and_says_what_to_do() {
    let ground = Ground::new();
    fs::create_dir(ground.profile_dir("empty")).unwrap();
    let open = ground.dir().join("open");
    envdir(&open, &[("HERMES_USER", "root")]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let home = ground.home().display().to_string();
    let open = open.display().to_string();
    let cases: [(&[&str], String); 6] = [
        (
            &["ghost"],
            format!(
                "no such profile: ghost (no {home}/profiles/ghost/SOUL.md): create it (hermes profile create ghost) or \
                 retire its slot (hermes-svc-unregister ghost)"
            ),
        ),
        (
            &["empty"],
            format!(
                "no such profile: empty (no {home}/profiles/empty/SOUL.md): create it (hermes profile create empty) or \
                 retire its slot (hermes-svc-unregister empty)"
            ),
        ),
        (
            &["-u", "no-such-user-x", "coder"],
            "no such user: no-such-user-x: add it to /etc/passwd, or correct -u".to_string(),
        ),
        (
            &["-H", "/nowhere/at/all", "coder"],
            "unable to open /nowhere/at/all: No such file or directory: have the volume mounted there and owned by the \
             account, or set HERMES_HOME or -H"
                .to_string(),
        ),
        (
            &["-c", "/nowhere/at/all", "coder"],
            "no such environment directory: /nowhere/at/all: correct -c or leave it out".to_string(),
        ),
        (&["-c", &open, "coder"], format!("unable to trust {open}: others than root can write in it: chown it to root, chmod go-w")),
    ];
    for (arguments, text) in cases {
        let fatal = format!("hermes-run-gateway: fatal: {text}\n");
        assert_eq!(ground.run(TOOL, arguments), (78, String::new(), fatal), "{arguments:?}");
    }
    assert!(!ground.profile_dir("ghost").exists(), "a missing profile must not come into being");
    assert_eq!(fs::read_dir(ground.profile_dir("empty")).unwrap().count(), 0);
}

#[test]
fn wrong_usage_and_a_missing_program_have_their_own_codes() {
    let ground = Ground::new();
    for (arguments, wrong) in [
        (&[][..], "no profile given"),
        (&["-z", "coder"], "unknown option -z"),
        (&["-s", "/x", "coder"], "unknown option -s"),
        (&["-c"], "option -c needs a value"),
    ] {
        let (code, out, err) = ground.run(TOOL, arguments);
        assert_eq!((code, out.as_str()), (100, ""), "{arguments:?}");
        let usage = "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] [ -P ] profile [ prog... ]";
        let fatal = format!("hermes-run-gateway: fatal: {wrong}\n");
        assert_eq!(err, format!("{fatal}hermes-run-gateway: usage: hermes-run-gateway {usage}\n"));
    }
    let (code, out, err) = ground.run(TOOL, &["Coder"]);
    assert_eq!((code, out.as_str()), (100, ""));
    assert!(err.starts_with("hermes-run-gateway: fatal: invalid profile name \"Coder\": "), "{err}");
    let (code, _, err) = ground.run(TOOL, &["coder", "no-such-program-x"]);
    assert_eq!(code, 127);
    assert!(err.starts_with("hermes-run-gateway: fatal: unable to execute no-such-program-x: No such file or directory on the PATH /run/"), "{err}");
    assert!(err.ends_with(": install it, or correct PATH\n"), "{err}");
    // A virtual environment whose Python was removed, and a link into one that was.
    let script = ground.dir().join("script");
    executable(&script, "#!/no/such/interpreter\n");
    let link = ground.dir().join("link");
    symlink("/no/such/environment/bin/hermes", &link).expect("link");
    for file in [script.to_str().expect("a path"), link.to_str().expect("a path")] {
        let (code, _, err) = ground.run(TOOL, &["coder", file]);
        let end = format!(
            "No such file or directory: {file} is there, and its interpreter or what it leads to is not: install it again\n"
        );
        assert!(code == 127 && err.ends_with(&end), "{err}");
    }
    let (code, _, err) = ground.run(TOOL, &["coder", "/etc/passwd"]);
    assert_eq!(
        (code, err.as_str()),
        (
            126,
            "hermes-run-gateway: fatal: unable to execute /etc/passwd: Permission denied: uid 54321 must be able to reach, read and execute it and its interpreter\n"
        )
    );
}

/// Rows D1, D2, D5, D6 of docs/failures.md.
#[test]
fn the_slots_environment_wins_over_the_containers_and_that_over_the_inherited() {
    let ground = Ground::new();
    let container = ground.dir().join("container");
    envdir(&container, &[("A", "container\n"), ("B", "container"), ("C", "container"), ("GONE", ""), ("NL", "a\nb\n")]);
    let slot = slot(&ground, &[("C", "slot"), ("API_SERVER_KEY", "own")]);
    let mut command = ground.command(TOOL);
    command.args(["-P", "-c"]).arg(&container).args(["coder", "env", "-0"]).current_dir(&slot);
    command.envs([("A", "inherited"), ("D", "inherited"), ("GONE", "inherited")]);
    command.envs([("API_SERVER_KEY", "default's"), ("API_SERVER_PORT", "8642"), ("DISCORD_BOT_TOKEN", "default's")]);
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = environment(&String::from_utf8(output.stdout).unwrap());
    let home = ground.home().display().to_string();
    for (name, value) in [
        ("A", Some("container")),
        ("B", Some("container")),
        ("C", Some("slot")),
        ("D", Some("inherited")),
        ("GONE", None),
        ("NL", Some("a\nb")),
        ("API_SERVER_KEY", Some("own")),
        ("API_SERVER_PORT", None),
        ("DISCORD_BOT_TOKEN", None),
        ("HERMES_HOME", Some(home.as_str())),
        ("HOME", Some(home.as_str())),
        ("PWD", Some(home.as_str())),
        ("HERMES_S6_SUPERVISED_CHILD", Some("1")),
        ("HERMES_SUPERVISED_CHILD", Some("1")),
    ] {
        assert_eq!(get(&seen, name), value, "{name}");
    }
}

#[test]
fn default_keeps_what_is_its_own() {
    let ground = Ground::new();
    let mut command = ground.command(TOOL);
    command.args(["-P", "default", "env", "-0"]).envs([("API_SERVER_KEY", "k"), ("TELEGRAM_BOT_TOKEN", "t")]);
    let seen = environment(&String::from_utf8(command.output().unwrap().stdout).unwrap());
    assert_eq!((get(&seen, "API_SERVER_KEY"), get(&seen, "TELEGRAM_BOT_TOKEN")), (Some("k"), Some("t")));
}

/// Rows A9, D1, D3 of docs/failures.md.
#[test]
fn the_home_is_the_options_else_the_slots_else_the_containers_else_the_inherited() {
    let ground = Ground::new();
    let home = ground.home().display().to_string();
    let container = ground.dir().join("container");
    let slot = slot(&ground, &[]);
    envdir(&container, &[]);
    let place = |option: &[&str], slot_says: &str, container_says: &str, inherited: &str| {
        for (dir, text) in [(slot.join("env"), slot_says), (container.clone(), container_says)] {
            let _ = fs::remove_file(dir.join("HERMES_HOME"));
            if !text.is_empty() {
                fs::write(dir.join("HERMES_HOME"), text).unwrap();
            }
        }
        let mut command = ground.command(TOOL);
        command.args(["-P", "-c"]).arg(&container).args(option).args(["coder", "printenv", "HERMES_HOME"]);
        let output = command.current_dir(&slot).env("HERMES_HOME", inherited).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let good = (Some(0), format!("{home}\n"));
    assert_eq!(place(&["-H", &home], "/bad", "/bad", "/bad"), good);
    assert_eq!(place(&[], &home, "/bad", "/bad"), good);
    assert_eq!(place(&[], "", &home, "/bad"), good);
    assert_eq!(place(&[], "", "", &home), good);
    assert_eq!(place(&[], "", "", "/bad"), (Some(78), String::new()));
}

#[test]
fn an_env_directory_is_a_slots_only_if_nobody_else_can_write_there() {
    let ground = Ground::new();
    let slot = slot(&ground, &[("X", "1")]);
    let run = || {
        let mut command = ground.command(TOOL);
        let output = command.args(["-P", "coder", "sh", "-c", "echo \"x=$X\""]).current_dir(&slot).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(), ("x=1\n".to_string(), String::new()));
    let ignored = "hermes-run-gateway: warning: ignoring ./env: others than root can write in it\n";
    for path in [slot.join("env"), slot.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(run(), ("x=\n".to_string(), ignored.to_string()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&path, Some(UID), None).unwrap();
        assert_eq!(run(), ("x=\n".to_string(), ignored.to_string()));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    fs::remove_dir(slot.join("supervise")).unwrap();
    assert_eq!(run(), ("x=\n".to_string(), String::new()), "not a slot: no business of ours");
}

/// Row E5 of docs/failures.md.
#[test]
fn the_gateway_gets_the_port_that_port_alloc_prints_unless_its_slot_says_otherwise() {
    let ground = Ground::new();
    let seen = |arguments: &[&str], place: &Path| {
        let mut command = ground.command(TOOL);
        let show = ["coder", "sh", "-c", "echo \"${API_SERVER_PORT-none}\""];
        // This variable is that of a person or of the container, and must not reach a named profile.
        command.args(arguments).args(show).env("API_SERVER_PORT", "8642").current_dir(place);
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let port = |text: &str| (format!("{text}\n"), String::new());
    let (code, printed, _) = ground.run("hermes-port-alloc", &["coder"]);
    assert_eq!((code, printed), (0, format!("{}\n", ground.port)));
    assert_eq!(seen(&[], ground.dir()), port(&ground.port.to_string()));
    assert_eq!(seen(&["-P"], ground.dir()), port("none"));
    let slot = slot(&ground, &[("API_SERVER_PORT", "7777")]);
    assert_eq!(seen(&[], &slot), port("7777"));
    ground.give("coder", ".env", "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=7778\n");
    assert_eq!(seen(&[], ground.dir()), port("7778"), "its .env says it");
    ground.give("coder", ".env", "");
    ground.give("coder", "config.yaml", "platforms: {api_server: {enabled: true, port: 7779}}\n");
    assert_eq!(seen(&[], ground.dir()), port("7779"), "Hermes Agent would not find it there");
    ground.give("coder", "config.yaml", "");
    ground.give("coder", ".env", "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=7778\n");

    // The only port of the range belongs to coder. So none is left for a second profile, and its gateway is started
    // without a port.
    ground.profile("writer");
    let (code, out, err) = ground.run(TOOL, &["writer", "sh", "-c", "echo \"${API_SERVER_PORT-none}\""]);
    let text = format!("no port for writer: every port of {0}-{0} is taken", ground.port);
    assert_eq!((code, out.as_str(), err), (0, "none\n", format!("hermes-run-gateway: warning: {text}\n")));

    // A profile that is wanted keeps its pin. One that nobody has started has no claim.
    ground.give("writer", ".env", "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=7778\n");
    assert_eq!(ground.run(TOOL, &["writer", "true"]), (0, String::new(), String::new()));
    ground.give("coder", "gateway_state.json", r#"{"desired_state":"running"}"#);
    let (code, out, err) = ground.run(TOOL, &["writer", "true"]);
    let profiles = ground.home().join("profiles").display().to_string();
    let text =
        format!("port 7778 is pinned twice: by writer ({profiles}/writer/.env) and by coder ({profiles}/coder/.env)");
    assert_eq!((code, out.as_str(), err), (78, "", format!("hermes-run-gateway: fatal: {text}: correct it\n")));
}

/// Row E5 of docs/failures.md.
#[test]
fn the_port_is_left_to_hermes_agent_where_a_file_was_not_understood() {
    let ground = Ground::new();
    let run = || ground.run(TOOL, &["coder", "sh", "-c", "echo \"${API_SERVER_PORT-none}\""]);
    let left = |file: &str, why: &str| {
        let shown = ground.home().join("profiles/coder").join(file);
        let warning = format!("{}: {why}: API_SERVER_PORT is left alone", shown.display());
        (0, "none\n".to_string(), format!("hermes-run-gateway: warning: {warning}\n"))
    };
    let why = "api_server is written in a way that is not read here: pin the port in .env";
    ground.give("coder", "config.yaml", "x: &x 9000\nplatforms: {api_server: {enabled: true, extra: {port: *x}}}\n");
    assert_eq!(run(), left("config.yaml", why));
    ground.give("coder", "config.yaml", "");
    ground.give("coder", "gateway.json", "{\"platforms\": NaN}");
    assert_eq!(run(), left("gateway.json", why));
    ground.give("coder", "gateway.json", "{}");
    ground.give("coder", ".env", "API_SERVER_KEY=aAPI_SERVER_PORT=9000\n");
    let why = "not read: Hermes Agent mends it first, or it grows too large";
    assert_eq!(run(), left(".env", why));
    ground.give("coder", ".env", "");
    assert_eq!(run(), (0, format!("{}\n", ground.port), String::new()));
}

/// Rows C3, C8 of docs/failures.md.
#[test]
fn root_becomes_the_owner_of_the_home_for_good_with_no_group_of_its_own() {
    let ground = Ground::new();
    let script = "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status; pwd";
    let (code, out, err) = ground.run(TOOL, &["coder", "sh", "-c", script]);
    let ids = format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}\nGid:\t{GID}\t{GID}\t{GID}\t{GID}\nGroups:\t{GID} \n");
    let none = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("{ids}{none}{}\n", ground.home().display()));
}

/// Row C7 of docs/failures.md.
#[test]
fn a_caller_that_is_not_root_changes_nothing_of_its_identity() {
    let ground = Ground::new();
    let tool = env!("CARGO_BIN_EXE_hermes-run-gateway");
    let ids = format!("--reuid={UID}");
    // root would have to grant this group. To drop it, the tool would need CAP_SETGID.
    let arguments =
        [ids.as_str(), "--regid=54322", "--groups=54322,54323", tool, "-u", "root", "-P", "coder", "id", "-G"];
    assert_eq!(ground.run("setpriv", &arguments), (0, "54322 54323\n".to_string(), String::new()));
}

#[test]
fn a_home_that_is_roots_runs_as_root_with_a_warning() {
    let mut ground = Ground::new();
    // No account is named, so the owner of the home decides.
    ground.tree.env.push(("HERMES_USER".to_string(), String::new()));
    std::os::unix::fs::chown(ground.home(), Some(0), Some(0)).unwrap();
    let warning = "hermes-run-gateway: warning: running the gateway of coder as root: name another account with -u or HERMES_USER\n";
    assert_eq!(ground.run(TOOL, &["-P", "coder", "id", "-u"]), (0, "0\n".to_string(), warning.to_string()));
}

#[test]
fn root_follows_no_link_that_the_account_laid() {
    let ground = Ground::new();
    let secret = ground.dir().join("secret");
    fs::write(&secret, "root's").unwrap();
    let lock = ground.profile_dir("coder").join(".hermes-s6.gateway.lock");
    for (lay, what) in [
        (Box::new(|| symlink(&secret, &lock).unwrap()) as Box<dyn Fn()>, "a symbolic link"),
        (Box::new(|| fs::create_dir(&lock).unwrap()), "a directory"),
        (Box::new(|| assert!(ground.run("mkfifo", &[lock.to_str().unwrap()]).0 == 0)), "not a regular file"),
    ] {
        lay();
        std::os::unix::fs::lchown(&lock, Some(UID), Some(GID)).unwrap();
        let text = format!("unable to use {} as the gateway lock: it is {what}: move it away", lock.display());
        let expected = (78, String::new(), format!("hermes-run-gateway: fatal: {text}\n"));
        assert_eq!(ground.run(TOOL, &["-P", "coder", "true"]), expected);
        fs::remove_file(&lock).or_else(|_| fs::remove_dir(&lock)).unwrap();
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "root's");
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 0);
}

/// Start a gateway outside of any slot. It holds the gateway lock.
fn hold(ground: &Ground, before: &[&str]) -> Child {
    let mut words: Vec<&str> = before.to_vec();
    words.extend([env!("CARGO_BIN_EXE_hermes-run-gateway"), "-P", "coder", "sleep", "100000"]);
    let child = ground.command(words[0]).args(&words[1..]).spawn().unwrap();
    let file = ground.profile_dir("coder").join(".hermes-s6.gateway.lock");
    wait_until("the lock to be held, and to say by whom", || {
        let written = fs::read_to_string(&file).is_ok_and(|text| text.ends_with("}\n"));
        written && ground.is_locked("coder")
    });
    child
}

#[test]
fn the_gateway_holds_the_lock_for_its_life_and_its_name_is_in_it() {
    let ground = Ground::new();
    let mut holder = hold(&ground, &[]);
    let text = fs::read_to_string(ground.profile_dir("coder").join(".hermes-s6.gateway.lock")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["pid"], holder.id());
    let stat = fs::read_to_string(format!("/proc/{}/stat", holder.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(value["start_time"].to_string(), fields[19]);
    assert_eq!(value["parent"], std::process::id());
    assert_eq!(value["pid_namespace"], fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(!ground.is_locked("coder"));
}

#[test]
fn a_volume_without_room_for_the_lock_keeps_no_gateway_down() {
    let ground = Ground::new();
    let script = r#"mount -t tmpfs -o nr_inodes=4,mode=0755 none "$HERMES_HOME" || exit 97
        mkdir -p "$HERMES_HOME/profiles/coder" && : >"$HERMES_HOME/profiles/coder/SOUL.md" || exit 98
        chown -R "$1:$1" "$HERMES_HOME"
        exec "$0" -P coder echo started"#;
    let mut command = ground.command("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_hermes-run-gateway"), &UID.to_string()]);
    let lock = ground.profile_dir("coder").join(".hermes-s6.gateway.lock");
    let warning = format!(
        "hermes-run-gateway: warning: unable to write {}: No space left on device: going on without a lock\n",
        lock.display()
    );
    assert_eq!(ended(&command.output().unwrap()), (0, "started\n".to_string(), warning));
}

/// Start a second gateway of the profile. Returns it with the line that it writes to stderr before it waits.
fn second(ground: &Ground) -> (Child, String) {
    let mut command = ground.command(TOOL);
    let mut child = command.args(["-P", "coder", "sleep", "100000"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn waiting_for(whom: &str) -> String {
    format!("hermes-run-gateway: warning: waiting for {whom} to end, which runs the gateway of this profile already\n")
}

fn becomes_the_gateway(child: &mut Child) {
    wait_for("the second gateway to take over", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", child.id())).ok()?;
        (name.trim() == "sleep").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Row F8 of docs/failures.md.
#[test]
fn a_second_gateway_waits_for_one_that_somebody_minds_and_takes_over_when_it_ends() {
    let ground = Ground::new();
    let mut holder = hold(&ground, &[]);
    let (mut waiting, line) = second(&ground);
    assert_eq!(line, waiting_for(&format!("pid {}", holder.id())));
    assert!(holder.try_wait().unwrap().is_none(), "it must not be touched");
    holder.kill().unwrap();
    holder.wait().unwrap();
    becomes_the_gateway(&mut waiting);
}

/// Rows F8, G1, G6, G7 of docs/failures.md.
#[test]
fn a_gateway_in_another_container_is_waited_for_and_never_signalled() {
    let ground = Ground::new();
    let words = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-c"];
    let script = "hostname the-other-container; exec \"$0\" \"$@\"";
    let mut holder = hold(&ground, &[&words[..], &[script]].concat());
    let (mut waiting, line) = second(&ground);
    assert_eq!(line, waiting_for("pid 1 in another container (the-other-container)"));
    assert!(holder.try_wait().unwrap().is_none(), "it must not be touched");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
    kill(children.trim().parse().unwrap(), Signal::KILL);
    holder.wait().unwrap();
    becomes_the_gateway(&mut waiting);
}

/// Row F7 of docs/failures.md.
#[test]
fn an_orphan_is_ended_and_its_place_taken() {
    let ground = Ground::new();
    let orphan = orphan(&ground, "");
    let (mut next, line) = second(&ground);
    let text = format!("pid {orphan} is a gateway of this profile whose supervisor was killed: ending it");
    assert_eq!(line, format!("hermes-run-gateway: warning: {text}\n"));
    becomes_the_gateway(&mut next);
    assert!(start_time(orphan).is_none());
}

/// Make an orphan: a shell starts a gateway and ends. Returns the gateway's pid.
fn orphan(ground: &Ground, before: &str) -> u32 {
    let script = "\"$0\" -P coder sleep 100000 2>/dev/null &
        until [ \"$(cat /proc/$!/comm)\" = sleep ]; do sleep 0.01; done
        echo $!";
    let mut command = ground.command("sh");
    command.args(["-c", &format!("{before}\n{script}"), env!("CARGO_BIN_EXE_hermes-run-gateway")]);
    // The orphan keeps stdout open. So stdout is a file and not a pipe, which would have to be read to its end.
    let path = ground.dir().join("shell.out");
    assert!(command.stdout(fs::File::create(&path).unwrap()).status().unwrap().success());
    assert!(ground.is_locked("coder"));
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[test]
fn a_gateway_whose_supervisor_is_killed_before_it_is_one_does_not_become_one() {
    let ground = Ground::new();
    let mut holder = hold(&ground, &[]);
    // The tool waits for the holder of the lock, and the shell that started the tool is killed meanwhile.
    let script = "\"$0\" -P coder touch ran & echo $!; wait";
    let mut shell = ground.command("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_hermes-run-gateway")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let mut said = BufReader::new(shell.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, waiting_for(&format!("pid {}", holder.id())));
    shell.kill().unwrap();
    shell.wait().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("the process to end", || start_time(pid.trim().parse().unwrap()).is_none());
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "hermes-run-gateway: fatal: unable to go on: the supervisor was killed while we waited\n");
    assert!(!ground.home().join("ran").exists());
}

#[test]
fn an_orphan_that_is_deaf_to_sigterm_is_killed_after_the_slots_timeout() {
    let ground = Ground::new();
    let orphan = orphan(&ground, "trap '' TERM");
    fs::write(ground.dir().join("timeout-kill"), "200\n").unwrap();
    let mut command = ground.command(TOOL);
    let output = command.args(["-P", "coder", "echo", "mine"]).output().unwrap();
    assert_eq!(output.stdout, b"mine\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.ends_with(&format!("warning: pid {orphan} did not end within 200 ms of SIGTERM: sending SIGKILL\n")),
        "{text}"
    );
    assert!(start_time(orphan).is_none());
}

/// Rows F7, F9 of docs/failures.md.
#[test]
fn a_pid_that_is_used_again_is_not_taken_for_the_holder() {
    let ground = Ground::new();
    let mut holder = hold(&ground, &[]);
    // According to the lock file, the holder is another process, which looks like an orphan. But that process started
    // at another time.
    let mut bystander = wait_for("a process with another start time", || {
        let mut other = ground.command("sleep").arg("100000").spawn().unwrap();
        if start_time(other.id()) != start_time(holder.id()) {
            return Some(other);
        }
        other.kill().unwrap();
        other.wait().unwrap();
        None
    });
    let path = ground.profile_dir("coder").join(".hermes-s6.gateway.lock");
    let mut value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    value["pid"] = bystander.id().into();
    value["parent"] = 1.into();
    fs::write(&path, value.to_string()).unwrap();
    let (mut waiting, line) = second(&ground);
    assert_eq!(line, waiting_for("somebody unknown"));
    assert!(bystander.try_wait().unwrap().is_none() && holder.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    kill(holder.id(), Signal::KILL);
    holder.wait().unwrap();
    becomes_the_gateway(&mut waiting);
}
