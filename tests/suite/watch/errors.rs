//! A look that fails is no answer. If a run that was going on may have missed a change, there is one more run.

use super::*;

/// Let these calls of the watcher fail while `act` is carried out.
fn while_failing(watch: &Watch, volume: &Volume, calls: &str, error: &str, act: impl FnOnce()) {
    let log = volume.outside("trace");
    fs::write(&log, "").unwrap();
    let mut tracer = Command::new("strace")
        .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}"), "-o"])
        .arg(&log)
        .args(["-p", &watch.process.id().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let failures = || fs::read_to_string(&log).unwrap().matches("(INJECTED)").count();
    wait_until(&format!("{calls} fails"), || failures() > 0);
    act();
    let before = failures();
    wait_until(&format!("{calls} has failed after that"), || failures() > before + 8);
    kill_process(Pid::from_child(&tracer), Signal::TERM).unwrap();
    tracer.wait().unwrap();
}

#[test]
fn a_look_that_fails_is_not_the_end_of_a_profile() {
    let volume = Volume::new();
    for name in ["coder", "writer"] {
        volume.profile(name);
    }
    let mut watch = Watch::start(&volume, &["-i", "20"], NOTE);
    watch.wait_for(&["coder", "writer"]);
    watch.forget();
    for (calls, error) in [
        ("openat2", "EIO"),
        ("openat2", "EMFILE"),
        ("openat2", "ESTALE"),
        ("open,openat", "EIO"),
        ("getdents64", "EIO"),
        ("fstat", "EIO"),
        ("newfstatat,statx", "ESTALE"),
        ("inotify_add_watch", "ENOMEM"),
    ] {
        while_failing(&watch, &volume, calls, error, || {});
        assert_eq!(watch.lines(), Vec::<String>::new(), "{calls}: {error}");
    }
    // A profile that vanished while the looks failed is found to be gone afterwards.
    while_failing(&watch, &volume, "openat2", "EIO", || fs::remove_dir_all(volume.path("profiles/coder")).unwrap());
    watch.wait_for(&["coder"]);
    assert_eq!(watch.end(), 0);
}

#[test]
fn a_look_that_failed_is_repeated_within_a_second_or_so_without_an_event() {
    let volume = Volume::new();
    let watch = Watch::start(&volume, &["-i", "0"], NOTE);
    let log = volume.outside("trace");
    // Let the next openat2 fail once. It is the one that opens `profiles`.
    let mut tracer = Command::new("strace")
        .args(["-e", "trace=openat2", "-e", "inject=openat2:error=EIO:when=1", "-o"])
        .arg(&log)
        .args(["-p", &watch.process.id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // strace prints "strace: Process 1 attached" when it has begun.
    assert_ne!(tracer.stderr.as_mut().unwrap().read(&mut [0; 99]).unwrap(), 0);
    // The profile is made elsewhere and moved into place, so that there is one event.
    volume.dir("made");
    volume.file("made/SOUL.md");
    fs::rename(volume.path("made"), volume.path("profiles/coder")).unwrap();
    watch.wait_for(&["coder"]);
    kill_process(Pid::from_child(&tracer), Signal::TERM).unwrap();
    tracer.wait().unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap().matches("(INJECTED)").count(), 1);
    let warning = "hermes-profile-watch: warning: unable to read profiles in the home: Input/output error\n";
    assert_eq!(watch.stderr(), warning);
}

#[test]
fn a_home_that_is_empty_all_at_once_was_unmounted_and_nothing_is_gone() {
    let volume = Volume::new();
    for name in ["coder", "writer"] {
        volume.profile(name);
    }
    volume.file("gateway_ports.json");
    let mut watch = Watch::start(&volume, &["-i", "20"], NOTE);
    watch.wait_for(&["coder", "writer"]);
    watch.forget();
    let aside = volume.outside("aside");
    fs::rename(&volume.home, &aside).unwrap();
    fs::create_dir(&volume.home).unwrap();
    volume.give(&volume.home);
    let warning =
        "hermes-profile-watch: warning: the home has neither profiles nor gateway_ports.json: nothing counts as gone\n";
    wait_until("the watcher to print the warning", || watch.stderr() == warning);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((watch.lines(), watch.stderr().as_str()), (Vec::<String>::new(), warning));
    // The volume is mounted again. The profile that vanished meanwhile is gone, and the others are unchanged.
    fs::remove_dir(&volume.home).unwrap();
    fs::remove_dir_all(aside.join("profiles/writer")).unwrap();
    fs::rename(&aside, &volume.home).unwrap();
    watch.wait_for(&["writer"]);
    // If the record of ports is there, `profiles` was really deleted.
    watch.forget();
    fs::remove_dir_all(volume.path("profiles")).unwrap();
    watch.wait_for(&["coder"]);
    assert_eq!((watch.end(), watch.stderr().as_str()), (0, warning));
}

#[test]
fn watches_of_directories_that_are_no_longer_looked_at_are_given_up() {
    let volume = Volume::new();
    volume.profile("coder");
    let watch = Watch::start(&volume, &["-i", "20"], NOTE);
    let watches = || {
        let dir = PathBuf::from(format!("/proc/{}/fdinfo", watch.process.id()));
        let infos = fs::read_dir(dir).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap_or_default());
        infos
            .flat_map(|info| info.lines().map(str::to_string).collect::<Vec<_>>())
            .filter(|l| l.starts_with("inotify "))
    };
    let inodes = |paths: &[PathBuf]| -> Vec<String> {
        use std::os::unix::fs::MetadataExt as _;
        paths.iter().map(|path| format!("ino:{:x}", fs::metadata(path).unwrap().ino())).collect()
    };
    let watched = |paths: &[PathBuf]| {
        let (inodes, lines): (Vec<String>, Vec<String>) = (inodes(paths), watches().collect());
        lines.len() == paths.len()
            && inodes.iter().all(|inode| lines.iter().any(|line| line.split(' ').any(|word| word == inode)))
    };
    // The home and `profiles` are replaced by other directories several times.
    for n in 0..3 {
        fs::rename(&volume.home, volume.outside(&format!("home{n}"))).unwrap();
        volume.give({
            fs::create_dir(&volume.home).unwrap();
            &volume.home
        });
        volume.dir("profiles");
        volume.profile("coder");
        volume.profile(&format!("p{n}"));
        fs::rename(volume.path("profiles"), volume.path(&format!("old{n}"))).unwrap();
        volume.dir("profiles");
        volume.profile("coder");
        let paths = [volume.home.clone(), volume.path("profiles"), volume.path("profiles/coder")];
        wait_until("three directories to be watched", || watched(&paths));
    }
    // A profile is moved out of `profiles`.
    fs::rename(volume.path("profiles/coder"), volume.path("coder")).unwrap();
    wait_until("two directories to be watched", || watched(&[volume.home.clone(), volume.path("profiles")]));
}

#[test]
fn what_goes_and_comes_back_at_once_during_a_run_is_run_once_more() {
    for what in ["profiles/coder", "profiles/coder/SOUL.md"] {
        let volume = Volume::new();
        volume.profile("coder");
        fs::write(volume.outside("hold"), "").unwrap();
        let script = r#"echo "$1 begins" >>"$0"; while test -e "${0%log}hold"; do sleep 0.01; done"#;
        let watch = Watch::start(&volume, &["-i", "0"], script);
        watch.wait_for(&["coder begins"]);
        // The profile is away while the watcher does not look. Only the run may have noticed.
        kill_process(watch.pid(), Signal::STOP).unwrap();
        fs::rename(volume.path(what), volume.path("aside")).unwrap();
        fs::rename(volume.path("aside"), volume.path(what)).unwrap();
        kill_process(watch.pid(), Signal::CONT).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        fs::remove_file(volume.outside("hold")).unwrap();
        watch.wait_for(&["coder begins", "coder begins"]);
    }
}

#[test]
fn what_changes_during_a_run_is_run_once_more_also_if_the_kernel_dropped_its_events() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for is_there in [true, false] {
        let volume = Volume::new();
        let (here, aside, hold) = (volume.profile("coder"), volume.path("aside"), volume.outside("hold"));
        let script = r#"echo "$1 begins" >>"$0"; while test -e "${0%log}hold"; do sleep 0.01; done"#;
        let hold_runs = || fs::write(&hold, "").unwrap();
        if is_there {
            hold_runs();
        }
        let watch = Watch::start(&volume, &["-i", "0"], script);
        watch.wait_for(&["coder begins"]);
        let (from, to) = if is_there { (&here, &aside) } else { (&aside, &here) };
        if !is_there {
            watch.forget();
            hold_runs();
            fs::rename(&here, &aside).unwrap();
            watch.wait_for(&["coder begins"]);
        }
        // The first events fill the kernel's queue, and the names in them do not matter. The kernel drops the events
        // after them.
        kill_process(watch.pid(), Signal::STOP).unwrap();
        for _ in 0..limit.trim().parse().unwrap() {
            fs::create_dir(volume.path("profiles/No name")).unwrap();
            fs::remove_dir(volume.path("profiles/No name")).unwrap();
        }
        fs::rename(from, to).unwrap();
        fs::rename(to, from).unwrap();
        kill_process(watch.pid(), Signal::CONT).unwrap();
        fs::remove_file(&hold).unwrap();
        watch.wait_for(&["coder begins", "coder begins"]);
    }
}

#[test]
fn what_the_program_prints_goes_to_standard_error_once_readiness_is_said() {
    let volume = Volume::new();
    let mut watch = Watch::start(&volume, &[], r#"echo "$1: to standard output"; echo "$1: to standard error" >&2"#);
    volume.profile("coder");
    wait_until("the second line on stderr", || watch.stderr().lines().count() == 2);
    assert_eq!(watch.end(), 0);
    assert_eq!(watch.stderr(), "coder: to standard output\ncoder: to standard error\n");
    let mut more = Vec::new();
    watch.ready.read_to_end(&mut more).unwrap();
    assert_eq!(more, b"", "nothing but the newline");
}

#[test]
fn readiness_that_nobody_reads_is_no_error_and_one_that_cannot_be_said_is() {
    let volume = Volume::new();
    let full = "exec \"$0\" -H \"$1\" true >/dev/full";
    let (code, _, stderr) = volume.tool("sh").args(["-c", full, TOOL]).arg(&volume.home).run().triple();
    let line = "hermes-profile-watch: fatal: unable to write to standard output: No space left on device\n";
    assert_eq!((code, stderr.as_str()), (111, line));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let log = volume.outside("log");
    let tool = volume.tool(TOOL).arg("-H").arg(&volume.home).args(["sh", "-c", NOTE]).arg(&log);
    let mut process = tool.command().stdout(writer).spawn().unwrap();
    volume.profile("coder");
    wait_until("coder is run", || fs::read_to_string(&log).is_ok_and(|text| text == "coder\n"));
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}
