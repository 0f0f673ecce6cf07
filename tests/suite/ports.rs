//! hermes-port-alloc and the record of ports on real homes (docs/DESIGN.md, "Ports").

mod place;

use crate::support::{UID, is_root};
use hermes_s6::under_test::{
    Account, Assignment, Book, Deadline, Home, Kind, Profile, Range, Silent, ports as port, preferred,
};
use place::{Ended, Place, ended, stamp};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

const USAGE: &str = "hermes-port-alloc: usage: hermes-port-alloc \
    [ -H home ] [ -v ] [ -n ] [ -p | -d | -l ] [ -r low-high ] [ -E VAR ] profile [ prog... ]\n";
const FILE: &str = "gateway_ports.json";
const LOCK: &str = ".hermes-s6.ports.lock";
const ENABLED: &str = "API_SERVER_ENABLED=true\n";

fn profile(name: &str) -> Profile {
    Profile::parse(OsStr::new(name)).unwrap()
}

/// This many names whose preferred port in the default range is the same.
fn colliding(count: usize) -> Vec<String> {
    let wanted = preferred(&profile("coder"), Range::DEFAULT);
    let names = (0..).map(|n| format!("p{n}"));
    names.filter(|name| preferred(&profile(name), Range::DEFAULT) == wanted).take(count).collect()
}

/// The home opened within this process, with the rights of its owner.
fn open(place: &Place) -> Home {
    let stat = fs::metadata(&place.home).unwrap();
    let groups = vec![stat.gid()];
    let account = Account { name: None, uid: stat.uid(), gid: stat.gid(), groups, directory: None };
    Home::open_as(&place.home, account).unwrap()
}

fn given(port: u16) -> Assignment {
    Assignment::Port { port, pinned: false }
}

/// Row E1 of docs/failures.md.
#[test]
fn a_profile_gets_its_preferred_port_and_keeps_it() {
    let place = Place::new(&["coder", "writer"]);
    place.expect(&["coder"], "9530\n");
    place.expect(&["writer"], "9685\n");
    place.expect(&["default"], "9495\n");
    assert_eq!(place.read(FILE), "{\"coder\":9530,\"default\":9495,\"writer\":9685}\n");
    place.expect(&["coder"], "9530\n");
    place.expect(&["-r", "5000-5009", "coder"], "9530\n");
}

#[test]
fn the_preferred_port_needs_neither_profile_nor_home() {
    let place = Place::new(&[]);
    place.expect(&["-p", "-H", "/nonexistent", "a"], "9699\n");
    place.expect(&["--preferred", "assistant"], "9762\n");
    place.expect(&["-p", "-r", "9530-9530", "coder"], "9530\n");
    place.expect(&["-p", "coder", "printenv", "API_SERVER_PORT"], "9530\n");
    assert_eq!(place.files(), [place.home.join("profiles")]);
}

/// Rows E1, E4 of docs/failures.md.
#[test]
fn fifty_allocators_at_once_give_fifty_colliding_names_fifty_ports() {
    let names = colliding(50);
    let place = Place::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let all_at_once = || -> Vec<Ended> {
        let spawn = |name| place.port_alloc().arg(name).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = names.iter().map(spawn).collect();
        let end = |child: std::process::Child| {
            let output = child.wait_with_output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
        };
        children.into_iter().map(end).collect()
    };
    let first = all_at_once();
    let ports: BTreeSet<u16> = first.iter().map(|ended| ended.stdout.trim().parse().unwrap()).collect();
    assert_eq!(ports, (9530..9580).collect());
    for ended in &first {
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(all_at_once(), first);
    let left: Vec<_> = fs::read_dir(&place.home).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_taken_port_gives_way_to_the_next_free_one_upwards_and_around() {
    let names = colliding(4);
    let place = Place::new(&[&names[0], &names[1], &names[2], &names[3]]);
    place.expect(&["-r", "9530-9532", &names[0]], &format!("{}\n", preferred(&profile(&names[0]), range(9530, 9532))));
    for name in &names[1..3] {
        assert_eq!(place.run(&["-r", "9530-9532", name]).code, Some(0));
    }
    let before = place.read(FILE);
    assert_eq!(
        place.run(&["-r", "9530-9532", &names[3]]),
        Ended::fatal(111, &format!("no port for {}: every port of 9530-9532 is taken", names[3]))
    );
    assert_eq!(place.read(FILE), before);
    place.expect(&[&names[3]], "9533\n");
}

fn range(low: u16, high: u16) -> Range {
    Range { low, high }
}

#[test]
fn the_range_comes_from_the_option_then_from_the_environment() {
    let place = Place::new(&["coder"]);
    let run = |range, arguments: &[&str]| ended(place.port_alloc().env("HERMES_PORT_RANGE", range).args(arguments));
    assert_eq!(run("7000-7000", &["-n", "coder"]), Ended::ok("7000\n"));
    assert_eq!(run("7000-7000", &["-n", "-r", "7001-7001", "coder"]), Ended::ok("7001\n"));
    assert_eq!(run("", &["-n", "coder"]), Ended::ok("9530\n"));
    let wrong = "it must be low-high, within 1-65535";
    assert_eq!(run("9-8", &["coder"]), Ended::fatal(100, &format!("invalid $HERMES_PORT_RANGE \"9-8\": {wrong}")));
    for text in ["9799-9200", "0-10", "9200-65536", "9200", "x"] {
        let words = format!("invalid port range \"{text}\": {wrong}");
        assert_eq!(place.run(&["-r", text, "coder"]), Ended::fatal(100, &words));
    }
    assert!(!place.home.join(FILE).exists());
}

/// Rows E2, E7 of docs/failures.md.
#[test]
fn reserved_ports_are_never_allocated() {
    let place = Place::new(&["coder"]);
    let run =
        |reserved, arguments: &[&str]| ended(place.port_alloc().env("HERMES_RESERVED_PORTS", reserved).args(arguments));
    assert_eq!(run("9530, 9531", &["-n", "coder"]), Ended::ok("9532\n"));
    for own in ["8642", "8644", "9119"] {
        let range = format!("{own}-{own}");
        let words = format!("no port for coder: every port of {range} is taken");
        assert_eq!(place.run(&["-r", &range, "coder"]), Ended::fatal(111, &words));
    }
    assert_eq!(
        run("9530;9531", &["coder"]),
        Ended::fatal(100, "invalid $HERMES_RESERVED_PORTS \"9530;9531\": \"9530;9531\" is not a port, 1 to 65535")
    );
    place.expect(&["coder"], "9530\n");
    assert_eq!(
        run("9530", &["coder"]),
        Ended::ok("9530\n")
            .warned("port 9530 of coder is recorded and by now reserved; hermes-port-alloc -d coder gives it up")
    );
}

/// Row E8 of docs/failures.md.
#[test]
fn a_port_that_the_profile_pins_itself_is_its_port() {
    let config = |text: &str| ("config.yaml", format!("platforms:\n  api_server:\n    {text}\n"));
    let env = |text: &str| (".env", format!("{ENABLED}{text}\n"));
    for ((file, text), port) in [
        (env("API_SERVER_PORT=9000"), 9000),
        (env("export API_SERVER_PORT='9000' # mine"), 9000),
        (env("API_SERVER_PORT=8642"), 8642),
        (env("API_SERVER_PORT=9530"), 9530),
        (env("A=it's mine\nAPI_SERVER_PORT=9000"), 9000),
        (config("{enabled: true, extra: {port: 9000}}"), 9000),
        (config("{enabled: yes, port: 9_000}"), 9000),
        (config("{enabled: 'on', extra: {port: '9000'}}"), 9000),
    ] {
        let place = Place::new(&["coder"]);
        place.write(&format!("profiles/coder/{file}"), &text);
        place.expect(&["coder"], &format!("{port}\n"));
        assert!(!place.home.join(FILE).exists(), "a pin is not recorded: {text:?}");
    }
    let place = Place::new(&[]);
    place.write(".env", "API_SERVER_KEY=0123456789abcdef0123456789abcdef\nAPI_SERVER_PORT=9000\n");
    place.expect(&["default"], "9000\n");
}

#[test]
fn a_pin_in_env_wins_over_config_yaml_where_hermes_agent_lets_it_win() {
    let place = Place::new(&["coder"]);
    place.write("profiles/coder/config.yaml", "platforms: {api_server: {enabled: true, extra: {port: 9001}}}");
    place.write("profiles/coder/.env", "API_SERVER_PORT=9000\n");
    place.expect(&["coder"], "9001\n");
    place.write("profiles/coder/.env", format!("{ENABLED}API_SERVER_PORT=9000\n"));
    place.expect(&["coder"], "9000\n");
}

/// Row E3 of docs/failures.md.
#[test]
fn the_pin_of_a_disabled_api_server_does_not_count() {
    let place = Place::new(&["coder", "writer"]);
    place.write("profiles/writer/.env", "API_SERVER_ENABLED=false\nAPI_SERVER_PORT=9530\n");
    place.expect(&["coder"], "9530\n");
    place.expect(&["writer"], "9685\n");
}

/// Row E4 of docs/failures.md.
#[test]
fn a_port_that_another_profile_pins_is_taken() {
    let place = Place::new(&["coder", "writer"]);
    place.write("profiles/writer/.env", format!("{ENABLED}API_SERVER_PORT=9530\n"));
    place.expect(&["coder"], "9531\n");
    place.expect(&["writer"], "9530\n");
}

/// Row E8 of docs/failures.md.
#[test]
fn a_recorded_port_that_another_profile_pins_later_moves_once_and_says_so() {
    let place = Place::new(&["coder", "writer"]);
    place.expect(&["coder"], "9530\n");
    place.write("profiles/writer/.env", format!("{ENABLED}API_SERVER_PORT=9530\n"));
    let why = format!(
        "port 9530 of coder is pinned by writer ({}): coder moves to 9531",
        place.shown("profiles/writer/.env")
    );
    assert_eq!(place.run(&["-n", "coder"]), Ended::ok("9531\n").warned(&why));
    assert_eq!(place.run(&["coder"]), Ended::ok("9531\n").warned(&why));
    place.expect(&["coder"], "9531\n");
    place.expect(&["writer"], "9530\n");
}

/// Row E8 of docs/failures.md.
#[test]
fn two_profiles_that_pin_one_port_are_an_error_that_names_both() {
    let place = Place::new(&["coder", "writer"]);
    place.write("profiles/coder/.env", format!("{ENABLED}API_SERVER_PORT=9000\n"));
    place.write("profiles/writer/config.yaml", "platforms: {api_server: {enabled: true, extra: {port: 9000}}}");
    let (coder, writer) = (place.shown("profiles/coder/.env"), place.shown("profiles/writer/config.yaml"));
    for (first, second) in [(("coder", &coder), ("writer", &writer)), (("writer", &writer), ("coder", &coder))] {
        let words =
            format!("port 9000 is pinned twice: by {} ({}) and by {} ({})", first.0, first.1, second.0, second.1);
        assert_eq!(place.run(&[first.0]), Ended::fatal(100, &words));
    }
    place.write("profiles/coder/.env", "API_SERVER_PORT=9000\n");
    place.expect(&["writer"], "9000\n");
}

/// Row E8 of docs/failures.md.
#[test]
fn of_two_profiles_that_pin_one_port_the_wanted_one_keeps_it() {
    let place = Place::new(&["clone", "coder"]);
    for name in ["clone", "coder"] {
        place.write(&format!("profiles/{name}/.env"), format!("{ENABLED}API_SERVER_PORT=9000\n"));
    }
    place.write("profiles/coder/gateway_state.json", r#"{"desired_state":"running"}"#);
    let (clone, coder) = (place.shown("profiles/clone/.env"), place.shown("profiles/coder/.env"));
    place.expect(&["coder"], "9000\n");
    let words = format!("port 9000 is pinned twice: by clone ({clone}) and by coder ({coder})");
    assert_eq!(place.run(&["clone"]), Ended::fatal(100, &words));
    place.write("profiles/clone/gateway_state.json", r#"{"desired_state":"running"}"#);
    let words = format!("port 9000 is pinned twice: by coder ({coder}) and by clone ({clone})");
    assert_eq!(place.run(&["coder"]), Ended::fatal(100, &words));
}

#[test]
fn a_byte_order_mark_and_the_legacy_gateway_json_hide_no_pin() {
    let place = Place::new(&["coder"]);
    place
        .write("profiles/coder/gateway.json", r#"{"platforms":{"api_server":{"enabled":true,"extra":{"port":9001}}}}"#);
    place.expect(&["coder"], "9001\n");
    place.write("profiles/coder/.env", format!("\u{feff}API_SERVER_PORT=9000\n{ENABLED}"));
    place.expect(&["coder"], "9000\n");
}

#[test]
fn the_containers_environment_pins_the_port_of_default_only() {
    let place = Place::new(&["coder"]);
    let run = |variables: &[(&str, &str)], name: &str| {
        let pinned = [("API_SERVER_ENABLED", "true"), ("API_SERVER_PORT", "9001")];
        ended(place.port_alloc().envs(pinned).envs(variables.iter().copied()).args(["-n", name]))
    };
    assert_eq!(run(&[], "default"), Ended::ok("9001\n"));
    assert_eq!(run(&[], "coder"), Ended::ok("9530\n"));
    // Inside a gateway, these variables are that gateway's own.
    assert_eq!(run(&[("HERMES_S6_SUPERVISED_CHILD", "1")], "default"), Ended::ok("9495\n"));
    place.write(".env", "API_SERVER_PORT=9002\n");
    assert_eq!(run(&[], "default"), Ended::ok("9002\n"));
}

#[test]
fn a_pin_that_is_no_port_is_named() {
    let place = Place::new(&["coder"]);
    let (env, config) = (place.shown("profiles/coder/.env"), place.shown("profiles/coder/config.yaml"));
    for (port, printed, words) in [
        ("70000", "9530\n", "there is no port 70000"),
        ("0", "9530\n", "there is no port 0"),
        ("soon", "8642\n", "the API server's port is no number, so Hermes Agent takes 8642"),
        ("", "8642\n", "the API server's port is no number, so Hermes Agent takes 8642"),
    ] {
        place.write("profiles/coder/.env", format!("{ENABLED}API_SERVER_PORT={port}\n"));
        assert_eq!(place.run(&["-n", "coder"]), Ended::ok(printed).warned(&format!("{env}: {words}")));
    }
    place.write("profiles/coder/.env", ENABLED);
    place.write("profiles/coder/config.yaml", "platforms: {api_server: [\n");
    let ended = place.run(&["-n", "coder"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "9530\n"));
    let start = format!("hermes-port-alloc: warning: {config}: ignored, also by Hermes Agent: ");
    assert!(ended.stderr.starts_with(&start) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    place.write("profiles/coder/config.yaml", "x: &x 9000\nplatforms: {api_server: {enabled: true, port: *x}}\n");
    let words = "api_server is written in a way that is not read here: pin the port in .env";
    assert_eq!(place.run(&["-n", "coder"]), Ended::ok("9530\n").warned(&format!("{config}: {words}")));
}

#[test]
fn settings_that_are_no_plain_files_are_named_and_never_waited_for() {
    for (make, why) in [
        (&["mkfifo"][..], "a FIFO"),
        (&["mkdir"][..], "a directory"),
        (&["ln", "-s", "/etc/passwd"][..], "a symbolic link"),
        (&["truncate", "-s", "1M"][..], "over 262144 bytes long"),
    ] {
        let place = Place::new(&["coder"]);
        let env = place.shown("profiles/coder/.env");
        assert!(Command::new(make[0]).args(&make[1..]).arg(&env).status().unwrap().success());
        if is_root() {
            std::os::unix::fs::lchown(&env, Some(UID), None).unwrap();
        }
        assert_eq!(place.run(&["coder"]), Ended::ok("9530\n").warned(&format!("{env}: not read: {why}")));
    }
}

/// Row E6 of docs/failures.md.
#[test]
fn nothing_is_written_where_nothing_changes() {
    let place = Place::new(&["coder", "writer"]);
    place.expect(&["coder"], "9530\n");
    let (files, before) = (place.files(), stamp(&place.home.join(FILE)));
    place.expect(&["coder"], "9530\n");
    place.expect(&["-d", "writer"], "");
    place.expect(&["-l"], "profile=coder port=9530\n");
    place.expect(&["-n", "writer"], "9685\n");
    place.expect(&["-n", "-d", "coder"], "");
    place.expect(&["coder"], "9530\n");
    assert_eq!((place.files(), stamp(&place.home.join(FILE))), (files, before));
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let place = Place::new(&["coder"]);
    let before = place.files();
    place.expect(&["-n", "coder"], "9530\n");
    place.expect(&["-n", "-d", "coder"], "");
    place.expect(&["-n", "coder", "printenv", "API_SERVER_PORT"], "9530\n");
    assert_eq!(place.files(), before);
}

/// Row E9 of docs/failures.md.
#[test]
fn a_freed_port_returns_and_freeing_twice_is_success() {
    let names = colliding(2);
    let place = Place::new(&[&names[0], &names[1]]);
    place.expect(&[&names[0]], "9530\n");
    place.expect(&[&names[1]], "9531\n");
    fs::remove_dir_all(place.home.join("profiles").join(&names[0])).unwrap();
    place.expect(&["-d", &names[0]], "");
    place.expect(&["--free", &names[0]], "");
    assert_eq!(place.read(FILE), format!("{{\"{}\":9531}}\n", names[1]));
    place.expect(&[&names[1]], "9531\n");
    place.expect(&["-d", &names[1]], "");
    place.expect(&[&names[1]], "9530\n");
    assert_eq!(
        place.run(&["-v", "-d", &names[1]]).stderr,
        format!("hermes-port-alloc: info: {}: port freed\n", names[1])
    );
    assert_eq!(
        place.run(&["-v", "-d", &names[1]]).stderr,
        format!("hermes-port-alloc: info: {}: no port was recorded\n", names[1])
    );
}

#[test]
fn the_list_has_recorded_and_pinned_ports_by_name() {
    let place = Place::new(&["coder", "writer", "a"]);
    place.expect(&["-l"], "");
    place.expect(&["writer"], "9685\n");
    place.expect(&["coder"], "9530\n");
    place.write("profiles/a/.env", format!("{ENABLED}API_SERVER_PORT=9000\n"));
    place.write("profiles/writer/.env", format!("{ENABLED}API_SERVER_PORT=9001\n"));
    let list = "profile=a port=9000 note=pinned\nprofile=coder port=9530\nprofile=writer port=9001 note=pinned\n";
    place.expect(&["-l"], list);
    place.expect(&["--list"], list);
}

#[test]
fn a_broken_record_is_set_aside_and_made_anew() {
    let deep = "[".repeat(100_000);
    let big = " ".repeat((1 << 20) + 1);
    for (text, why) in [
        ("", "not JSON"),
        ("{\"coder\":95", "not JSON"),
        ("\u{feff}{}", "not JSON"),
        ("[]", "not a JSON object"),
        ("9530", "not a JSON object"),
        (deep.as_str(), "not JSON"),
        (big.as_str(), "over 1048576 bytes long"),
    ] {
        let place = Place::new(&["coder"]);
        place.write(FILE, text);
        let shown = place.shown(FILE);
        let dry = place.run(&["-n", "coder"]);
        assert_eq!(dry, Ended::ok("9530\n").warned(&format!("{shown} is of no use: {why}")));
        assert_eq!(place.read(FILE), text);
        let ended = place.run(&["coder"]);
        let set_aside = format!("{shown} is set aside as {FILE}.bad: {why}");
        assert_eq!(ended, Ended::ok("9530\n").warned(&set_aside).warned(&format!("{shown} is of no use: {why}")));
        assert_eq!(place.read(FILE), "{\"coder\":9530}\n");
        assert_eq!(place.read("gateway_ports.json.bad"), text);
        place.expect(&["coder"], "9530\n");
    }
}

#[test]
fn what_is_no_plain_file_in_the_place_of_the_record_is_set_aside() {
    for (make, why) in [
        (&["mkfifo"][..], "a FIFO"),
        (&["mkdir"][..], "a directory"),
        (&["ln", "-s", "/etc/passwd"][..], "a symbolic link"),
    ] {
        let place = Place::new(&["coder"]);
        let shown = place.shown(FILE);
        assert!(Command::new(make[0]).args(&make[1..]).arg(&shown).status().unwrap().success());
        let set_aside = format!("{shown} is set aside as {FILE}.bad: {why}");
        assert_eq!(
            place.run(&["coder"]),
            Ended::ok("9530\n").warned(&set_aside).warned(&format!("{shown} is of no use: {why}"))
        );
        assert_eq!(place.read(FILE), "{\"coder\":9530}\n");
        assert!(fs::symlink_metadata(place.home.join("gateway_ports.json.bad")).is_ok());
    }
}

#[test]
fn a_sound_record_that_cannot_be_read_just_now_is_left_alone() {
    let place = Place::new(&["coder"]);
    place.write(FILE, "{\"coder\":9600}\n");
    let path = place.home.join(FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    }
    let why = format!("unable to read {}: Permission denied", path.display());
    assert_eq!(place.run(&["coder"]), Ended::fatal(111, &why));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    place.expect(&["coder"], "9600\n");
}

#[test]
fn entries_that_are_no_profile_and_port_are_kept_and_not_used() {
    let place = Place::new(&["coder", "writer"]);
    place.write(FILE, "{\"Bad\\u001b[2J\":9530,\"gone\":9685,\"coder\":\"9700\",\"x\":{\"y\":[1]}}");
    let text =
        format!("{}: ignored 3 that are not a profile and its port, first \"Bad\\u{{1b}}[2J\"", place.shown(FILE));
    assert_eq!(place.run(&["writer"]), Ended::ok("9686\n").warned(&text));
    let kept = "{\"Bad\\u001b[2J\":9530,\"coder\":\"9700\",\"gone\":9685,\"writer\":9686,\"x\":{\"y\":[1]}}\n";
    assert_eq!(place.read(FILE), kept);
    assert_eq!(place.run(&["coder"]), Ended::ok("9530\n").warned(&text));
    assert!(place.read(FILE).contains("\"coder\":9530,"));
}

#[test]
fn one_port_recorded_twice_stays_with_the_first_by_name() {
    let place = Place::new(&["coder", "writer"]);
    place.write(FILE, "{\"coder\":9300,\"writer\":9300}");
    let text = "port 9300 of writer is recorded for coder as well: writer moves to 9685";
    assert_eq!(place.run(&["writer"]), Ended::ok("9685\n").warned(text));
    place.expect(&["coder"], "9300\n");
    place.expect(&["writer"], "9685\n");
}

#[test]
fn a_read_only_volume_gives_what_is_recorded_and_records_nothing_new() {
    let place = Place::new(&["coder", "writer"]);
    place.expect(&["coder"], "9530\n");
    place.make_read_only();
    let before = place.files();
    place.expect(&["-l"], "profile=coder port=9530\n");
    place.expect(&["-n", "writer"], "9685\n");
    place.expect(&["-d", "writer"], "");
    place.expect(&["coder"], "9530\n");
    fs::set_permissions(&place.home, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(place.home.join(LOCK)).unwrap();
    place.make_read_only();
    place.expect(&["coder"], "9530\n");
    place.expect(&["-d", "writer"], "");
    for arguments in [&["writer"][..], &["-d", "coder"]] {
        let (file, lock) = (place.shown(FILE), place.shown(LOCK));
        let words = format!("ports not recorded in {file}: unable to open {lock}: Permission denied");
        assert_eq!(place.run(arguments), Ended::fatal(111, &words));
    }
    assert_eq!(place.files().len(), before.len() - 1);
}

#[test]
fn on_a_read_only_volume_a_profile_without_a_port_gets_its_preferred_one_which_is_not_recorded() {
    let names = colliding(2);
    let place = Place::new(&[&names[1], &names[0]]);
    place.make_read_only();
    let home = open(&place);
    let mut book = Book::open(&home, Range::DEFAULT, Deadline::after_ms(0), &Silent).unwrap();
    for name in names {
        assert_eq!(book.assign(&profile(&name)), Ok(given(9530)));
        assert_eq!(book.save().map_err(|e| e.kind), Err(Kind::System));
    }
}

#[test]
fn an_odd_thing_in_the_place_of_the_lock_is_named_and_never_waited_for() {
    for (make, verb, why) in [
        (&["mkfifo"][..], "lock", "not a regular file"),
        (&["mkdir"][..], "open", "Is a directory"),
        (&["ln", "-s", "/etc/passwd"][..], "open", "Too many levels of symbolic links"),
    ] {
        let place = Place::new(&["coder", "writer"]);
        place.write(FILE, "{\"writer\":9600}");
        let lock = place.shown(LOCK);
        assert!(Command::new(make[0]).args(&make[1..]).arg(&lock).status().unwrap().success());
        if make[0] != "ln" {
            std::os::unix::fs::chown(&lock, Some(fs::metadata(&place.home).unwrap().uid()), None).unwrap();
        }
        let words = format!("ports not recorded in {}: unable to {verb} {lock}: {why}", place.shown(FILE));
        assert_eq!(place.run(&["coder"]), Ended::fatal(111, &words));
        place.expect(&["writer"], "9600\n");
        assert_eq!(place.read(FILE), "{\"writer\":9600}");
    }
}

#[test]
fn a_lock_that_is_held_for_too_long_is_given_up() {
    let place = Place::new(&["coder"]);
    place.expect(&["-d", "coder"], "");
    let lock = place.home.join(LOCK);
    let mut holder = Command::new("s6-setlock");
    holder.arg(&lock).args(["sh", "-c", "echo held; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "held\n");
    let home = open(&place);
    let error = Book::open(&home, Range::DEFAULT, Deadline::after_ms(20), &Silent).err().unwrap();
    let words = format!("timed out after 20 ms waiting for the lock {}", lock.display());
    assert_eq!((error.kind, error.text), (Kind::TimedOut, words));
    place.expect(&["-n", "coder"], "9530\n");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    place.expect(&["coder"], "9530\n");
}

#[test]
fn the_lock_is_free_again_for_the_program_and_after_it() {
    let place = Place::new(&["coder", "writer"]);
    let tool = env!("CARGO_BIN_EXE_hermes-port-alloc");
    place.expect(&["coder", tool, "writer", "sh", "-c", "echo $API_SERVER_PORT"], "9685\n");
    place.expect(&["-l"], "profile=coder port=9530\nprofile=writer port=9685\n");
}

/// Row H5 of docs/failures.md.
#[test]
fn nothing_on_the_volume_belongs_to_root_afterwards() {
    let place = Place::new(&["coder", "writer"]);
    place.write(FILE, "rubbish");
    assert_eq!(place.run(&["coder"]).code, Some(0));
    assert_eq!(place.run(&["-d", "coder"]).code, Some(0));
    assert_eq!(place.run(&["writer"]).code, Some(0));
    let owner = fs::metadata(&place.home).unwrap().uid();
    assert_eq!(owner == UID, is_root());
    for path in place.files() {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), owner, "{}", path.display());
    }
    assert_eq!(fs::metadata(place.home.join(FILE)).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn the_program_gets_the_port_and_the_callers_own_rights() {
    let place = Place::new(&["coder"]);
    place.expect(&["coder", "printenv", "API_SERVER_PORT"], "9530\n");
    place.expect(&["-E", "PORT", "coder", "sh", "-c", "echo $PORT,$API_SERVER_PORT"], "9530,\n");
    place.expect(&["coder", "echo", "-p", "--", "-n"], "-p -- -n\n");
    place.expect(&["coder", "sh", "-c", "exit 0"], "");
    assert_eq!(place.run(&["coder", "sh", "-c", "exit 7"]).code, Some(7));
    let ids = ended(Command::new("sh").args(["-c", "id -u; id -ru; id -g; id -G"])).stdout;
    place.expect(&["coder", "sh", "-c", "id -u; id -ru; id -g; id -G"], &ids);
    assert_eq!(
        place.run(&["coder", "/nonexistent/prog"]),
        Ended::fatal(127, "unable to execute /nonexistent/prog: No such file or directory")
    );
    let uid = rustix::process::geteuid().as_raw();
    let why = format!(
        "unable to execute /etc: Permission denied: uid {uid} must be able to reach, read and execute it and its interpreter"
    );
    assert_eq!(place.run(&["coder", "/etc"]), Ended::fatal(126, &why));
}

#[test]
fn a_wrong_command_line_is_usage() {
    let place = Place::new(&["coder"]);
    for (arguments, wrong) in [
        (&[][..], "no profile given"),
        (&["-x", "coder"], "unknown option -x"),
        (&["-r"], "option -r needs a value"),
        (&["-p", "-d", "coder"], "-p, -d and -l exclude each other"),
        (&["-d", "-l"], "-p, -d and -l exclude each other"),
        (&["-l", "coder"], "an operand too many: coder"),
        (&["-d", "coder", "true"], "-d takes one profile and no program"),
        (&["-p"], "no profile given"),
        (&["-s", "/run/service", "coder"], "unknown option -s"),
    ] {
        let stderr = format!("hermes-port-alloc: fatal: {wrong}\n{USAGE}");
        let usage = Ended { code: Some(100), stdout: String::new(), stderr };
        assert_eq!(place.run(arguments), usage, "{arguments:?}");
    }
    for variable in ["", "1A", "A B", "A=B", "é"] {
        let words = format!("invalid variable name \"{variable}\": it must be [A-Za-z_][A-Za-z0-9_]*");
        assert_eq!(place.run(&["-E", variable, "coder", "true"]), Ended::fatal(100, &words));
    }
    let why = "it must be [a-z0-9][a-z0-9_-]* of at most 64 bytes";
    for (mode, name) in [("-p", "Coder"), ("-d", "a/b"), ("-n", ".."), ("-v", ""), ("--", "-x")] {
        let words = format!("invalid profile name \"{name}\": {why}");
        assert_eq!(place.run(&[mode, name]), Ended::fatal(100, &words));
    }
    let soul = place.shown("profiles/writer/SOUL.md");
    assert_eq!(place.run(&["writer"]), Ended::fatal(100, &format!("no such profile: writer (no {soul})")));
    assert!(!place.home.join(FILE).exists());
    assert_eq!(
        place.run(&["-H", "/nonexistent", "coder"]),
        Ended::fatal(
            102,
            "unable to open /nonexistent: No such file or directory: -H or HERMES_HOME names another home"
        )
    );
}

/// Row E9 of docs/failures.md.
#[test]
fn a_port_is_kept_on_rename_and_looked_up_without_a_lock() {
    let place = Place::new(&["coder", "writer"]);
    place.expect(&["coder"], "9530\n");
    let home = open(&place);
    let mut book = Book::open(&home, Range::DEFAULT, Deadline::after_ms(0), &Silent).unwrap();
    book.rename(&profile("coder"), &profile("writer"));
    book.save().unwrap();
    // The book is still open, so its lock is still held.
    assert_eq!(port::lookup(&home, &profile("writer")), Ok(Some(9530)));
    assert_eq!(port::lookup(&home, &profile("coder")), Ok(None));
    assert_eq!(book.assign(&profile("coder")), Ok(given(9531)));
    drop(book);
    place.write("profiles/coder/.env", format!("{ENABLED}API_SERVER_PORT=9000\n"));
    assert_eq!(port::lookup(&home, &profile("coder")), Ok(Some(9000)));
    assert_eq!(place.read(FILE), "{\"writer\":9530}\n");
}
