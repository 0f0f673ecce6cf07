//! hermes-profile-watch on a real file system, as root, with real programs to run and an account that misbehaves.

use crate::support::{wait_for, wait_until};
use crate::volume::{ACCOUNT, Volume};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

mod errors;

const TOOL: &str = env!("CARGO_BIN_EXE_hermes-profile-watch");

/// A script that writes the profile's name to the log. Its `$0` is the log, and its `$1` is the name.
const NOTE: &str = r#"echo "$1" >>"$0""#;

/// O_CLOEXEC, as it is in `/proc/PID/fdinfo`.
const CLOEXEC: i32 = 0o2_000_000;

/// A running watcher that has reported its readiness.
struct Watch {
    process: Child,
    ready: ChildStdout,
    log: PathBuf,
    stderr: PathBuf,
}

impl Watch {
    fn start(volume: &Volume, options: &[&str], script: &str) -> Watch {
        Watch::start_in(volume, "", options, script)
    }

    /// Start a watcher. `setting` is a command that executes the watcher.
    fn start_in(volume: &Volume, setting: &str, options: &[&str], script: &str) -> Watch {
        let (log, stderr) = (volume.outside("log"), volume.outside("stderr"));
        fs::write(&log, "").unwrap();
        let shell = format!("exec {setting} \"$@\"");
        let tool = volume.tool("sh").args(["-c", &shell, "sh", TOOL, "-H"]).arg(&volume.home).args(options);
        let mut command = tool.args(["sh", "-c", script]).arg(&log).command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&stderr).unwrap());
        let mut process = command.spawn().unwrap();
        let mut ready = process.stdout.take().unwrap();
        let mut byte = [0];
        let told = ready.read(&mut byte).unwrap();
        assert_eq!((told, byte), (1, *b"\n"), "not ready: {}", fs::read_to_string(&stderr).unwrap());
        Watch { process, ready, log, stderr }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_string).collect()
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    fn wait_for(&self, lines: &[&str]) {
        wait_until(&format!("there is {lines:?} in {:?}", self.lines()), || self.sorted() == lines);
    }

    /// Empty the log.
    fn forget(&self) {
        fs::write(&self.log, "").unwrap();
    }

    /// End the watcher by SIGTERM. Returns its exit code.
    fn end(&mut self) -> i32 {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.process.wait().unwrap().code().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Run a shell script as the account, in the home.
fn as_account(script: &str, volume: &Volume) -> Child {
    let ids = [format!("--reuid={ACCOUNT}"), format!("--regid={ACCOUNT}"), "--clear-groups".to_string()];
    Command::new("setpriv").args(ids).args(["sh", "-c", script]).current_dir(&volume.home).spawn().unwrap()
}

#[test]
fn what_is_new_is_run_at_the_start_and_after_that_only_what_changes() {
    let volume = Volume::new();
    for name in ["writer", "coder"] {
        volume.profile(name);
    }
    volume.dir("profiles/empty");
    volume.profile("default");
    let mut watch = Watch::start(&volume, &[], NOTE);
    watch.wait_for(&["coder", "writer"]);
    volume.file("profiles/coder/config.yaml");
    volume.file("gateway_state.json");
    volume.profile("tester");
    watch.wait_for(&["coder", "tester", "writer"]);
    assert_eq!((watch.end(), watch.stderr().as_str()), (0, ""));
    assert_eq!(watch.sorted(), ["coder", "tester", "writer"]);
}

#[test]
fn what_is_older_than_the_container_was_the_boot_passs_to_see() {
    let volume = Volume::new();
    volume.profile("old");
    volume.profile("moved");
    std::thread::sleep(Duration::from_millis(4100));
    // A stat file of PID 1, as if PID 1 had started in 58 seconds. The watcher looks back a minute before that, so it
    // looks back two seconds from now. Times from two clocks may differ by a second.
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    let stat = fs::read_to_string("/proc/1/stat").unwrap();
    let mut fields: Vec<String> = stat.rsplit_once(')').unwrap().1.split(' ').map(str::to_string).collect();
    fields[20] = format!("{}", (seconds + 58) * 100);
    fs::write(volume.outside("stat"), format!("1 (init){}", fields.join(" "))).unwrap();
    fs::rename(volume.path("profiles/moved"), volume.path("profiles/renamed")).unwrap();
    volume.profile("new");
    let bind =
        format!("unshare -m sh -c 'mount --bind {} /proc/1/stat; exec \"$@\"' sh", volume.outside("stat").display());
    let mut watch = Watch::start_in(&volume, &bind, &["-i", "0"], NOTE);
    watch.wait_for(&["new", "renamed"]);
    std::thread::sleep(Duration::from_millis(100));
    fs::remove_file(volume.path("profiles/old/SOUL.md")).unwrap();
    watch.wait_for(&["new", "old", "renamed"]);
    assert_eq!((watch.end(), watch.lines().len()), (0, 3));
}

/// Row B2 of docs/failures.md.
#[test]
fn a_profile_that_is_renamed_or_gains_or_loses_its_marker_or_goes_is_run() {
    let volume = Volume::new();
    let (coder, writer) = (volume.dir("profiles/coder"), volume.path("profiles/writer"));
    let watch = Watch::start(&volume, &["-i", "0"], NOTE);
    let expect = |names: &[&str], act: &dyn Fn()| {
        watch.forget();
        act();
        watch.wait_for(names);
    };
    expect(&["coder"], &|| drop(volume.file("profiles/coder/SOUL.md")));
    expect(&["coder", "writer"], &|| fs::rename(&coder, &writer).unwrap());
    expect(&["writer"], &|| fs::remove_file(writer.join("SOUL.md")).unwrap());
    // The watch follows the directory to its new name.
    volume.file("elsewhere");
    expect(&["writer"], &|| symlink("../../elsewhere", writer.join("SOUL.md")).unwrap());
    expect(&["writer"], &|| fs::rename(writer.join("SOUL.md"), writer.join("SOUL.md.bak")).unwrap());
    expect(&["writer"], &|| fs::rename(writer.join("SOUL.md.bak"), writer.join("SOUL.md")).unwrap());
    expect(&["writer"], &|| fs::remove_dir_all(&writer).unwrap());
    expect(&["writer"], &|| drop(volume.profile("writer")));
    // The profile is moved out of `profiles`, and in again.
    expect(&["writer"], &|| fs::rename(&writer, volume.path("aside")).unwrap());
    expect(&["coder"], &|| fs::rename(volume.path("aside"), &coder).unwrap());
    // Another directory takes the place of the profile's.
    volume.dir("other");
    volume.file("other/SOUL.md");
    expect(&["coder"], &|| {
        let (other, flags) = (volume.path("other"), rustix::fs::RenameFlags::EXCHANGE);
        rustix::fs::renameat_with(rustix::fs::CWD, &other, rustix::fs::CWD, &coder, flags).unwrap();
    });
}

#[test]
fn profiles_may_be_deleted_and_made_again_or_replaced() {
    let volume = Volume::new();
    volume.file("gateway_ports.json");
    volume.profile("coder");
    let watch = Watch::start(&volume, &["-i", "0"], NOTE);
    watch.wait_for(&["coder"]);
    let expect = |names: &[&str], act: &dyn Fn()| {
        watch.forget();
        act();
        watch.wait_for(names);
    };
    expect(&["coder"], &|| fs::remove_dir_all(volume.path("profiles")).unwrap());
    expect(&["writer"], &|| {
        volume.dir("profiles");
        volume.profile("writer");
    });
    expect(&["writer"], &|| fs::rename(volume.path("profiles"), volume.path("old")).unwrap());
    expect(&["writer"], &|| fs::rename(volume.path("old"), volume.path("profiles")).unwrap());
    expect(&["tester"], &|| drop(volume.profile("tester")));
    assert_eq!(watch.stderr(), "");
}

#[test]
fn a_home_without_profiles_gets_them_later() {
    let volume = Volume::new();
    fs::remove_dir(volume.path("profiles")).unwrap();
    let watch = Watch::start(&volume, &["-i", "0"], NOTE);
    volume.dir("profiles");
    volume.profile("coder");
    watch.wait_for(&["coder"]);
    assert_eq!(watch.stderr(), "");
}

#[test]
fn readiness_is_a_newline_on_standard_output_and_a_child_inherits_nothing() {
    let volume = Volume::new();
    // grep is run first, because a shell that has run a command may have changed its own signal mask.
    let script = r#"test $1 = mask && exec grep ^SigBlk /proc/self/status >>"$0"
        ls /proc/$$/fd >"$0.fds"; readlink /proc/$$/fd/0 >>"$0""#;
    let mut watch = Watch::start(&volume, &[], script);
    // The watcher has replaced its standard output after the newline, so the pipe is closed.
    assert_eq!(watch.ready.read(&mut [0; 8]).unwrap(), 0);
    volume.profile("coder");
    watch.wait_for(&["/dev/null"]);
    volume.profile("mask");
    watch.wait_for(&["/dev/null", "SigBlk:\t0000000000000000"]);
    let descriptors = fs::read_to_string(volume.outside("log.fds")).unwrap();
    let inherited = inherited();
    // Descriptors from 10 on may be the shell's own.
    let expected = |fd: &str| fd.parse::<u32>().unwrap() > 9 || inherited.iter().any(|other| other == fd);
    assert!(descriptors.lines().all(expected), "{descriptors}, beside {inherited:?}");
}

/// The descriptors of this test that every program it starts has as well: cargo or a shell has left them open.
fn inherited() -> Vec<String> {
    let is_inherited = |fd: &String| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|octal| i32::from_str_radix(octal.trim(), 8).unwrap() & CLOEXEC == 0)
    };
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.map(|entry| entry.file_name().into_string().unwrap()).filter(is_inherited).collect()
}

#[test]
fn a_burst_of_two_hundred_is_run_once_each_and_never_twice_at_once() {
    let volume = Volume::new();
    let script = r#"mkdir "$0.$1" || echo overlap >>"$0"; sleep 0.02; rmdir "$0.$1"; echo "$1" >>"$0""#;
    let mut watch = Watch::start(&volume, &[], script);
    let names: Vec<String> = (100..300).map(|n| format!("p{n}")).collect();
    for name in &names {
        volume.profile(name);
    }
    wait_until("all have run", || watch.lines().len() >= 200);
    assert_eq!((watch.end(), watch.stderr().as_str()), (0, ""));
    assert_eq!(watch.sorted(), names);
}

#[test]
fn what_changes_during_a_run_is_run_once_more_and_a_slow_run_holds_up_nobody() {
    let volume = Volume::new();
    let hold = volume.outside("hold");
    fs::write(&hold, "").unwrap();
    let script = r#"echo "$1 begins" >>"$0"
        case $1 in slow*) while test -e "${0%log}hold"; do sleep 0.01; done;; esac
        echo "$1 ends" >>"$0""#;
    let watch = Watch::start(&volume, &[], script);
    for n in 0..9 {
        volume.profile(&format!("slow{n}"));
    }
    let begun = |name: &str| watch.lines().iter().filter(|l| **l == format!("{name} begins")).count();
    wait_until("nine run at once", || (0..9).all(|n| begun(&format!("slow{n}")) == 1));
    for _ in 0..3 {
        fs::remove_file(volume.path("profiles/slow3/SOUL.md")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        volume.file("profiles/slow3/SOUL.md");
        std::thread::sleep(Duration::from_millis(20));
    }
    volume.profile("quick");
    wait_until("the tenth has run", || watch.lines().iter().any(|l| l == "quick ends"));
    assert_eq!(begun("slow3"), 1, "two at once for one name");
    fs::remove_file(&hold).unwrap();
    wait_until("slow3 has run again", || begun("slow3") == 2);
    wait_until("all have ended", || watch.lines().len() == 22);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(watch.lines().len(), 22, "{:?}", watch.lines());
}

#[test]
fn lost_events_are_made_up_for_by_looking_at_everything() {
    let volume = Volume::new();
    for name in ["again", "old"] {
        volume.profile(name);
    }
    let watch = Watch::start(&volume, &["-i", "0", "-v"], NOTE);
    watch.wait_for(&["again", "old"]);
    watch.forget();
    let queue: u32 = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    kill_process(watch.pid(), Signal::STOP).unwrap();
    for n in 0..=queue / 2 {
        let path = volume.path(&format!("profiles/{n}x"));
        fs::write(&path, "").unwrap();
        fs::remove_file(&path).unwrap();
    }
    volume.profile("late");
    fs::remove_dir_all(volume.path("profiles/old")).unwrap();
    // If the file system reuses the inode at once, this profile looks as if it had been there all the time.
    fs::remove_dir_all(volume.path("profiles/again")).unwrap();
    volume.profile("again");
    kill_process(watch.pid(), Signal::CONT).unwrap();
    wait_until("both are run", || ["late", "old"].iter().all(|name| watch.lines().contains(&name.to_string())));
    assert!(watch.stderr().contains("hermes-profile-watch: info: the kernel dropped events"), "{}", watch.stderr());
    watch.forget();
    fs::remove_file(volume.path("profiles/again/SOUL.md")).unwrap();
    watch.wait_for(&["again"]);
}

#[test]
fn it_does_not_wake_while_nothing_happens() {
    let volume = Volume::new();
    for n in 0..50 {
        volume.profile(&format!("p{n}"));
    }
    let watch = Watch::start(&volume, &[], NOTE);
    wait_until("the start is over", || watch.lines().len() == 50);
    let status = PathBuf::from(format!("/proc/{}/status", watch.process.id()));
    let switches = || -> Vec<String> {
        let text = fs::read_to_string(&status).unwrap();
        text.lines().filter(|l| l.contains("ctxt_switches")).map(str::to_string).collect()
    };
    let mut before = Vec::new();
    wait_until("the watcher to sleep for a second", || {
        before = switches();
        std::thread::sleep(Duration::from_secs(1));
        switches() == before
    });
    assert_eq!(before.len(), 2);
    // There is one descriptor for all watches.
    let descriptors = fs::read_dir(format!("/proc/{}/fd", watch.process.id())).unwrap().count();
    assert!(descriptors < 20, "{descriptors} descriptors");
}

#[test]
fn without_watches_or_without_inotify_rescans_find_what_changed() {
    for (setting, warning) in [
        (
            "max_inotify_watches",
            "unable to watch every profile: fs.inotify.max_user_watches is too low: relying on rescans\n",
        ),
        ("max_inotify_instances", "relying on rescans\n"),
    ] {
        let volume = Volume::new();
        // A user namespace has limits of its own. It has only one account, root.
        for path in [&volume.home, &volume.path("profiles")] {
            chown(path, Some(0), Some(0)).unwrap();
        }
        let limit = if setting == "max_inotify_watches" { 3 } else { 0 };
        let shell =
            format!("env HERMES_USER= unshare -U -r sh -c 'echo {limit} >/proc/sys/user/{setting}; exec \"$@\"' sh");
        let watch = Watch::start_in(&volume, &shell, &["-i", "50"], NOTE);
        for name in ["p0", "p1", "p2"] {
            fs::create_dir(volume.path(&format!("profiles/{name}"))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        for name in ["p0", "p1", "p2"] {
            volume.root_file(&format!("profiles/{name}/SOUL.md"));
        }
        watch.wait_for(&["p0", "p1", "p2"]);
        fs::remove_file(volume.path("profiles/p2/SOUL.md")).unwrap();
        watch.wait_for(&["p0", "p1", "p2", "p2"]);
        // Directories that the account may not look into cause no further warning.
        for name in 0..40 {
            let path = volume.path(&format!("profiles/locked{name}"));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            volume.give(&path);
        }
        std::thread::sleep(Duration::from_millis(300));
        let stderr = watch.stderr();
        assert!(stderr.ends_with(warning) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn with_neither_events_nor_rescans_it_says_so_and_ends() {
    let volume = Volume::new();
    chown(&volume.home, Some(0), Some(0)).unwrap();
    let shell = "echo 0 >/proc/sys/user/max_inotify_instances; exec \"$0\" -i 0 -H \"$1\" true";
    let ran = volume
        .tool("unshare")
        .env("HERMES_USER", "")
        .args(["-U", "-r", "sh", "-c", shell, TOOL])
        .arg(&volume.home)
        .run();
    let home = volume.home.display();
    ran.is(111, "", &format!("hermes-profile-watch: fatal: unable to watch {home}: Too many open files\n"));
}

#[test]
fn told_to_end_it_takes_on_nothing_more_and_waits_for_what_runs() {
    let volume = Volume::new();
    let hold = volume.outside("hold");
    fs::write(&hold, "").unwrap();
    let script = r#"echo "$1 begins" >>"$0"; while test -e "${0%log}hold"; do sleep 0.01; done; echo "$1 ends" >>"$0""#;
    let mut watch = Watch::start(&volume, &[], script);
    volume.profile("first");
    watch.wait_for(&["first begins"]);
    kill_process(watch.pid(), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    volume.profile("second");
    std::thread::sleep(Duration::from_millis(50));
    assert!(watch.process.try_wait().unwrap().is_none(), "it did not wait");
    fs::remove_file(&hold).unwrap();
    assert_eq!(watch.process.wait().unwrap().code(), Some(0));
    assert_eq!(watch.lines(), ["first begins", "first ends"]);
    assert_eq!(watch.stderr(), "");
}

#[test]
fn told_twice_it_passes_the_word_on() {
    let volume = Volume::new();
    let mut watch = Watch::start(&volume, &[], r#"echo "$1" >>"$0"; exec sleep 60"#);
    volume.profile("coder");
    watch.wait_for(&["coder"]);
    kill_process(watch.pid(), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(watch.process.try_wait().unwrap().is_none(), "it did not wait");
    let start = Instant::now();
    assert_eq!(watch.end(), 0);
    // The watcher did not wait for the program, which sleeps for a minute.
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(watch.stderr(), "hermes-profile-watch: warning: sh coder was killed by signal 15\n");
}

#[test]
fn a_run_that_fails_is_reported_and_tried_again_unless_it_never_will_work() {
    let volume = Volume::new();
    let gone = volume.home.join("profiles/gone");
    // The code 100 for a profile that exists means that its directory was elsewhere for a moment.
    let script = format!(
        r#"echo "$1" >>"$0"
        case $1 in
            gone) test -e '{}' || exit 100 ;;
            moved) mkdir "$0.moved" 2>/dev/null && exit 100 ;;
            later) mkdir "$0.later" 2>/dev/null && exit 111 ;;
        esac
        exit 0"#,
        gone.display()
    );
    let mut watch = Watch::start(&volume, &["-i", "0"], &script);
    ["gone", "moved", "later"].iter().for_each(|name| drop(volume.profile(name)));
    watch.wait_for(&["gone", "later", "later", "moved", "moved"]);
    fs::remove_dir_all(&gone).unwrap();
    let all = ["gone", "gone", "later", "later", "moved", "moved"];
    watch.wait_for(&all);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!((watch.end(), watch.sorted()), (0, all.map(str::to_string).to_vec()));
    let mut stderr: Vec<String> = watch.stderr().lines().map(str::to_string).collect();
    stderr.sort();
    // There is no warning for a profile that is gone.
    let wanted = ["sh later exited 111", "sh moved exited 100"];
    assert_eq!(stderr, wanted.map(|w| format!("hermes-profile-watch: warning: {w}")));
}

/// A profile for which s6-svscan has no room is tried again for ever.
#[test]
fn a_run_that_fails_again_and_again_is_told_of_once() {
    let volume = Volume::new();
    let script = r#"echo "$1" >>"$0"; echo "no room" >&2; case $(grep -c . "$0") in 3) exit 99 ;; *) exit 111 ;; esac"#;
    let mut watch = Watch::start(&volume, &["-i", "0", "-v"], script);
    volume.profile("coder");
    wait_until("another failure", || watch.stderr().contains("sh coder exited 99"));
    // After a change it is told of anew.
    fs::remove_dir_all(volume.home.join("profiles/coder")).unwrap();
    wait_until("the end of that run", || watch.stderr().matches("exited 111").count() == 2);
    watch.end();
    assert_eq!(watch.lines().len(), 4);
    let stderr = watch.stderr();
    // The lines of the runs themselves come whenever they come.
    let own = stderr.lines().filter(|line| *line != "no room").map(|line| line.splitn(3, ": ").last().unwrap_or(line));
    let once = ["running sh coder", "sh coder exited 111"];
    let wanted = [&["coder: Appeared"], &once[..], &["sh coder exited 99", "coder: Gone"], &once].concat();
    assert_eq!((own.collect::<Vec<_>>(), stderr.matches("no room").count()), (wanted, 2), "{stderr}");
}

#[test]
fn a_program_that_is_missing_is_a_warning() {
    let volume = Volume::new();
    volume.profile("coder");
    let mut command = volume.tool(TOOL).arg("-H").arg(&volume.home).arg("/nowhere/prog").command();
    let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let line = "hermes-profile-watch: warning: unable to run /nowhere/prog coder: No such file or directory\n";
    let mut said = vec![0; line.len()];
    process.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), line);
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn only_valid_names_of_real_directories_are_ever_passed_on() {
    let volume = Volume::new();
    let odd = ["Upper", "a b", "a\nb", "$(touch x)", "-n", ".hidden", "default", &"x".repeat(65)];
    for name in &odd[..4] {
        volume.profile(name);
    }
    let outside = volume.outside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("SOUL.md"), "").unwrap();
    crate::support::link_of(ACCOUNT, &outside, &volume.path("profiles/link0"));
    let mut watch = Watch::start(&volume, &["-i", "100"], NOTE);
    for name in &odd[4..] {
        volume.profile(name);
    }
    crate::support::link_of(ACCOUNT, &outside, &volume.path("profiles/link1"));
    // A link that belongs to root is followed.
    crate::support::link_of(0, &outside, &volume.path("profiles/linked"));
    volume.file("profiles/file");
    volume.dir("profiles/dir");
    volume.dir("profiles/dir/SOUL.md");
    volume.profile("good");
    watch.wait_for(&["good", "linked"]);
    std::thread::sleep(Duration::from_millis(250));
    let (code, mut lines) = (watch.end(), watch.lines());
    lines.sort();
    assert_eq!((code, lines), (0, vec!["good".to_string(), "linked".to_string()]));
    assert_eq!(watch.stderr(), "");
}

#[test]
fn it_looks_with_the_accounts_rights_only() {
    let volume = Volume::new();
    let profiles = volume.path("profiles");
    volume.profile("coder");
    chown(&profiles, Some(0), Some(0)).unwrap();
    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o700)).unwrap();
    let watch = Watch::start(&volume, &["-i", "100"], NOTE);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(watch.lines(), Vec::<String>::new());
    assert_eq!(
        watch.stderr(),
        "hermes-profile-watch: warning: unable to read profiles in the home: Permission denied\n"
    );
    chown(&profiles, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    watch.wait_for(&["coder"]);
}

#[test]
fn a_profile_that_root_had_locked_is_found_when_it_is_handed_over() {
    let volume = Volume::new();
    let watch = Watch::start(&volume, &["-i", "0"], NOTE);
    let dir = volume.path("profiles/coder");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    volume.root_file("profiles/coder/SOUL.md");
    volume.profile("other");
    watch.wait_for(&["other"]);
    volume.give(&dir);
    watch.wait_for(&["coder", "other"]);
}

#[test]
fn one_that_flaps_is_run_a_few_times_and_delays_no_other() {
    let volume = Volume::new();
    let watch = Watch::start(&volume, &["-i", "200"], NOTE);
    let script = "while ! test -e ../stop; do mkdir profiles/flap; touch profiles/flap/SOUL.md; sleep 0.01; rm -r profiles/flap; sleep 0.01; done";
    let begun = Instant::now();
    let mut mischief = as_account(script, &volume);
    wait_until("the first run for flap", || watch.lines().contains(&"flap".to_string()));
    let before = watch.lines().len();
    volume.profile("honest");
    let place = wait_for("the other one to have run", || watch.lines().iter().position(|name| name == "honest"));
    assert!(place <= before + 5, "the one that flaps was run {} times before the other one", place - before);
    std::thread::sleep(Duration::from_secs(2));
    fs::write(volume.outside("stop"), "").unwrap();
    assert!(mischief.wait().unwrap().success());
    let runs = watch.lines().iter().filter(|l| *l == "flap").count();
    // Two runs for one name are at least a tenth of a second apart.
    let most = begun.elapsed().as_millis() as usize / 100 + 1;
    assert!((2..=most).contains(&runs), "{runs} runs, {most} at most");
    assert_eq!(watch.stderr(), "");
}

#[test]
fn names_without_end_and_directories_that_are_swapped_do_not_end_it() {
    let volume = Volume::new();
    let mut watch = Watch::start(&volume, &["-i", "50"], NOTE);
    let names = "n=0; while ! test -e ../stop; do n=$((n+1)); mkdir profiles/x$n; touch profiles/x$n/SOUL.md; test $((n % 9)) != 0 || sleep 0.1; rm -r profiles/x$n; done 2>/dev/null";
    let swaps = "while ! test -e ../stop; do mv profiles aside; ln -s /etc profiles; rm profiles; mv -T aside profiles; sleep 0.2; done";
    let mut mischief = [as_account(names, &volume), as_account(swaps, &volume)];
    std::thread::sleep(Duration::from_secs(2));
    fs::write(volume.outside("stop"), "").unwrap();
    for child in &mut mischief {
        child.wait().unwrap();
    }
    assert!(watch.lines().iter().any(|line| line.starts_with('x')), "nothing was at stake");
    volume.profile("honest");
    wait_until("the honest one has run", || watch.lines().contains(&"honest".to_string()));
    assert_eq!(watch.end(), 0);
}

#[test]
fn a_crowd_of_directories_is_bounded_and_the_next_one_gets_in_when_one_goes() {
    let volume = Volume::new();
    for n in 0..4096 {
        fs::create_dir(volume.path(&format!("profiles/d{n}"))).unwrap();
    }
    let watch = Watch::start(&volume, &["-i", "300"], NOTE);
    volume.profile("late");
    let line =
        "hermes-profile-watch: warning: there are more than 4096 directories in profiles: the others are left out\n";
    wait_until("the watcher to print the warning", || watch.stderr() == line);
    assert_eq!(watch.lines(), Vec::<String>::new());
    fs::remove_dir(volume.path("profiles/d7")).unwrap();
    watch.wait_for(&["late"]);
    assert_eq!(watch.stderr(), line);
}

#[test]
fn bad_input_has_one_line_and_its_exit_code() {
    let volume = Volume::new();
    let file = volume.root_file("file").display().to_string();
    let missing = volume.path("missing").display().to_string();
    let usage = |wrong: &str| {
        let usage = "hermes-profile-watch: usage: hermes-profile-watch [ -H home ] [ -v ] [ -i ms ] prog...";
        format!("fatal: {wrong}\n{usage}")
    };
    let interval = |text: &str| {
        format!("fatal: invalid interval \"{text}\": it must be a whole number of milliseconds, 0 to 4294967295")
    };
    let gone =
        format!("fatal: unable to open {missing}: No such file or directory: -H or HERMES_HOME names another home");
    for (arguments, code, line) in [
        (vec![], 100, usage("no program given")),
        (vec!["-i", "10"], 100, usage("no program given")),
        (vec!["-x", "true"], 100, usage("unknown option -x")),
        (vec!["-i", "-1", "true"], 100, interval("-1")),
        (vec!["-i", "soon", "true"], 100, interval("soon")),
        (vec!["-i", "4294967296", "true"], 100, interval("4294967296")),
        (vec!["-H", &missing, "true"], 102, gone),
        (vec!["-H", &file, "true"], 111, format!("fatal: unable to open {file}: Not a directory")),
    ] {
        let (ended, stdout, stderr) = volume.tool(TOOL).args(&arguments).run().triple();
        assert_eq!((ended, stdout.as_str()), (code, ""), "{arguments:?}");
        assert_eq!(stderr, format!("hermes-profile-watch: {line}\n"), "{arguments:?}");
    }
}
