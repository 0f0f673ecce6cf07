use crate::engine::{docker, image, once, run};

fn inspect(template: &str) -> String {
    docker(&["image", "inspect", "-f", template, &image()]).ok()
}

#[test]
fn the_image_says_how_it_starts_what_it_keeps_and_what_it_is() {
    assert_eq!(inspect("{{json .Config.Entrypoint}}"), r#"["/init","/opt/hermes/docker/main-wrapper.sh"]"#);
    assert_eq!(inspect("{{json .Config.Volumes}}"), r#"{"/opt/data":{}}"#);
    assert_eq!(
        inspect("{{json .Config.Healthcheck.Test}}"),
        r#"["CMD","/usr/local/bin/hermes-svc-status","-r","-g","120000"]"#
    );
    assert_eq!(inspect("{{.Config.User}}"), "");
    // The ports of default's API server and of the dashboard.
    assert_eq!(inspect("{{json .Config.ExposedPorts}}"), r#"{"8642/tcp":{},"9119/tcp":{}}"#);
    assert!(inspect("{{json .Config.Env}}").contains(r#""API_SERVER_PORT=8642""#));
    for name in ["title", "description", "licenses", "version", "revision"] {
        let value = inspect(&format!("{{{{index .Config.Labels \"org.opencontainers.image.{name}\"}}}}"));
        assert!(!value.is_empty(), "no label {name}");
    }
}

#[test]
fn a_change_of_our_source_changes_the_last_layer_only() {
    let history = docker(&["history", "--no-trunc", "--format", "{{.Size}}|{{.CreatedBy}}", &image()]).ok();
    // The newest layer comes first. A layer without a size is only a setting, and so is a working directory.
    let setting = |line: &&str| line.replace(' ', "").starts_with("0B|") || line.contains("WORKDIR");
    let newest = history.lines().find(|line| !setting(line)).unwrap_or_default();
    assert!(newest.contains("/tools/") || newest.contains("COPY dir:"), "{newest}");
    let size = newest.split('|').next().unwrap_or_default();
    assert!(size.ends_with("MB") || size.ends_with("kB"), "the newest layer weighs {size}");
}

/// Row H7 of docs/failures.md.
#[test]
fn every_tool_is_a_link_to_one_static_executable() {
    let script = "cd /usr/local/bin
        for tool in hermes-svc-start hermes-svc-status hermes-reconcile-all hermes-detect-supervisor hermes-fix-attrs; do
            [ \"$(readlink $tool)\" = hermes-s6 ] || echo $tool
            $tool --version >/dev/null || echo $tool
        done
        ldd hermes-s6 2>&1 || true";
    let said = once(&["--entrypoint", "/bin/sh"], &["-c", script]).ok();
    assert!(
        said == "\tnot a dynamic executable" || said == "not a dynamic executable" || said.contains("statically"),
        "{said}"
    );
}

#[test]
fn the_sources_of_the_tools_and_the_image_name_the_same_tools() {
    let mut expected: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".rs").map(str::to_owned))
        .collect();
    expected.sort();
    let there =
        once(&["--entrypoint", "/bin/sh"], &["-c", "cd /usr/local/bin; ls -d hermes-* | grep -vx hermes-s6"]).ok();
    assert_eq!(there.lines().collect::<Vec<_>>(), expected);
}

/// Row H7 of docs/failures.md.
#[test]
fn the_account_can_write_nowhere_but_where_it_should() {
    let script = "find / -xdev \\( -type f -o -type d \\) -writable 2>/dev/null | grep -v -e '^/tmp' -e '^/var/tmp' -e '^/run/lock$' -e '^/opt/data$' || true";
    assert_eq!(once(&["--user", "hermes", "--entrypoint", "/bin/sh"], &["-c", script]).ok(), "");
    let script = "find /opt/hermes /usr/local /command /package /etc/s6-overlay /etc/cont-init.d /init ! -user root 2>/dev/null || true";
    assert_eq!(once(&["--entrypoint", "/bin/sh"], &["-c", script]).ok(), "");
}

#[test]
fn hermes_agent_and_all_it_needs_are_the_versions_of_the_lock() {
    let lock = include_str!("../../image/requirements.lock");
    let mut locked: Vec<String> = lock
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .filter_map(|line| line.split([' ', '\\']).next())
        .filter(|word| word.contains("=="))
        .map(|word| {
            word.split('[').next().unwrap_or_default().to_owned() + "==" + word.rsplit("==").next().unwrap_or_default()
        })
        .map(|word| word.to_lowercase().replace(['_', '.'], "-"))
        .map(|word| word.split("==").map(str::to_owned).collect::<Vec<_>>())
        .map(|parts| format!("{}=={}", parts[0], parts[parts.len() - 1]))
        .collect();
    locked.sort();
    let script = "from importlib.metadata import distributions
for d in distributions(): print(d.metadata['Name'] + '==' + d.version)";
    let there = once(&["--entrypoint", "/opt/hermes/.venv/bin/python"], &["-c", script]).ok();
    let mut installed: Vec<String> = there
        .lines()
        .map(|word| word.to_lowercase().replace(['_', '.'], "-"))
        // These are Debian's.
        .filter(|word| !word.starts_with("pip==") && !word.starts_with("python-olm=="))
        .collect();
    installed.sort();
    assert_eq!(installed, locked);
    assert!(installed.contains(&String::from("hermes-agent==0-19-0")));
}

#[test]
fn the_run_time_packages_are_there_and_no_compiler_is() {
    let script = "for program in curl git rg ffmpeg node ssh ps python3; do command -v $program >/dev/null || echo no $program; done
        for program in cc gcc g++ c++ clang rustc cargo; do ! command -v $program >/dev/null || echo $program; done
        [ -s /etc/ssl/certs/ca-certificates.crt ] || echo no certificates
        d=/opt/hermes/.venv/lib/python3.13/site-packages/hermes_cli
        [ -e $d/web_dist/index.html ] || echo no web interface
        [ -e $d/tui_dist/entry.js ] || echo no terminal interface";
    assert_eq!(once(&["--entrypoint", "/bin/sh"], &["-c", script]).ok(), "");
}

#[test]
fn nothing_on_the_path_is_the_accounts_to_write() {
    let script = "IFS=:; for d in $PATH; do [ ! -w $d ] || echo $d; [ -d $d ] || echo no $d; done; command -v hermes; command -v s6-svc; command -v python";
    let said = once(&["--user", "hermes", "--entrypoint", "/bin/sh"], &["-c", script]).ok();
    assert_eq!(said.lines().next(), Some("/opt/hermes/bin/hermes"), "{said}");
    assert!(said.ends_with("\n/opt/hermes/.venv/bin/python"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn a_release_file_with_another_checksum_is_refused_before_it_is_unpacked() {
    let directory = std::env::temp_dir().join(crate::engine::unique("release"));
    std::fs::create_dir_all(&directory).unwrap();
    let script = directory.join("unpack-s6-overlay");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/image/unpack-s6-overlay"), &script).unwrap();
    std::fs::write(directory.join("s6-overlay-noarch.tar.xz"), "not the release").unwrap();
    let into = directory.join("layer");
    let sums =
        ["NOARCH", "SYMLINKS", "X86_64", "AARCH64"].map(|name| format!("S6_OVERLAY_{name}_SHA256={}", "0".repeat(64)));
    let mut arguments: Vec<&str> = sums.iter().map(String::as_str).collect();
    arguments.extend([script.to_str().unwrap(), "http://127.0.0.1:9/", into.to_str().unwrap()]);
    let ran = run("env", &arguments);
    let left = std::fs::read_dir(&into).map(Iterator::count).unwrap_or_default();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("FAILED") || ran.out.contains("FAILED"), "{ran:?}");
    assert_eq!(left, 0);
}
