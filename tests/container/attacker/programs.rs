//! Programs, start-up files and variables that root must not take from the account.

use super::{Siege, traps};

/// The names of programs that root's scripts and tools run, and that a person types.
const NAMES: [&str; 38] = [
    "bash",
    "sh",
    "env",
    "id",
    "ls",
    "cat",
    "sed",
    "grep",
    "stat",
    "chown",
    "chmod",
    "mkdir",
    "mktemp",
    "ln",
    "rm",
    "mv",
    "date",
    "sleep",
    "true",
    "readlink",
    "which",
    "python3",
    "git",
    "curl",
    "ps",
    "hermes",
    "hermes-fix-attrs",
    "hermes-reconcile-all",
    "hermes-reconcile-one",
    "hermes-run-gateway",
    "hermes-svc-start",
    "hermes-svc-status",
    "s6-setuidgid",
    "s6-svc",
    "s6-svstat",
    "s6-pause",
    "exit",
    "execlineb",
];

/// The paths of traps: these names in directories that the account can write, and that may be on a PATH or be the
/// working directory.
fn planted() -> Vec<String> {
    ["/opt/data", "/opt/data/bin", "/opt/data/.local/bin", "/opt/data/profiles/coder", "/tmp"]
        .iter()
        .flat_map(|dir| NAMES.iter().map(move |name| format!("{dir}/{name}")))
        .collect()
}

/// A shell script that makes start-up files of shells, Python, git and curl, in the account's home and in other places
/// where these programs may look for them.
const START_UP: &str = r#"
cd /opt/data
for rc in .bashrc .bash_profile .bash_login .profile .bash_logout .shrc .zshrc .kshrc .inputrc; do
    echo "echo $rc >>/tmp/traps/ran-as-\$(/usr/bin/id -u)" >$rc
done
printf '[core]\nfsmonitor = /opt/data/ls\npager = /opt/data/cat\nsshCommand = /opt/data/cat\n[alias]\nstatus = !/opt/data/cat\n' >.gitconfig
mkdir -p .config/git; cp .gitconfig .config/git/config; git init -q . ; cp .gitconfig .git/config
printf 'output = /srv/canary/dir/curl\nurl = file:///srv/canary/file\n' >.curlrc
python='import os; open("/tmp/traps/ran-as-%d" % os.geteuid(), "a").write(__file__ + "\n")'
version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
for dir in . .local/lib/$version/site-packages lazy-packages profiles/coder /tmp; do
    mkdir -p $dir
    for module in sitecustomize usercustomize json site os hermes_cli pip encodings yaml dotenv; do echo "$python" >$dir/$module.py; done
    echo "import sys; exec('$(echo "$python" | sed 's/__file__/"pth"/; s/"/\\"/g')')" >$dir/evil.pth
done
printf 'home = /opt/data\n' >pyvenv.cfg; echo "$python" >.pythonrc
"#;

#[test]
fn nothing_of_the_accounts_runs_as_root_wherever_root_types_and_whatever_it_runs() {
    let siege = Siege::of(&["coder"]);
    siege.container.sh_as_hermes(START_UP).code(0);
    siege.container.sh_as_hermes(&traps(&planted())).code(0);
    for directory in ["/opt/hermes", "/opt/data", "/opt/data/profiles/coder", "/tmp"] {
        let at = |command: &[&str]| siege.container.exec_with(&["-w", directory], command);
        at(&["hermes-svc-status"]).code(0);
        at(&["hermes-reconcile-all"]).code(0);
        at(&["hermes-fix-attrs"]).code(0);
        at(&["hermes-svc-restart", "-w", "coder"]).code(0);
        at(&["hermes", "-p", "coder", "gateway", "status"]).code(0);
        at(&["hermes", "-p", "coder", "gateway", "restart"]).code(0);
        at(&["bash", "-lc", "hermes-svc-status; hermes gateway status; ls >/dev/null; id -u"]).code(0);
        at(&["bash", "-ic", "hermes-svc-status; true"]).code(0);
        at(&["/usr/local/bin/hermes-svc-status", "-c"]).code(0);
        at(&["/opt/hermes/docker/main-wrapper.sh", "hermes-svc-list"]).code(0);
    }
    // In the working directory of `docker exec`, Python, git and curl find none of these files.
    siege.container.sh("python3 -c 'import json'; git --version; curl -s --version >/dev/null").code(0);
    siege.restart();
    siege.unharmed();
    // The account's own shell did run its start-up file, so the files work.
    siege.container.exec_as("hermes", &["bash", "-c", "HOME=/opt/data exec bash -lc true"]).code(0);
    assert!(siege.container.sh("cat /tmp/traps/ran-as-10000").ok().contains(".bash_profile"));
}

#[test]
fn hermes_agents_own_python_runs_after_root_has_become_the_account() {
    let siege = Siege::of(&[]);
    siege.container.sh_as_hermes(START_UP).code(0);
    // A client that prints its uids. It has the same interpreter as Hermes Agent's.
    let client = "printf '#!/opt/hermes/.venv/bin/python3\\nimport os, sys\\nprint(os.getresuid(), os.getgroups(), os.environ[\"HOME\"])\\n' >/opt/hermes/.venv/bin/hermes";
    siege.container.sh(client).code(0);
    for directory in ["/opt/hermes", "/opt/data"] {
        let ran = siege.container.exec_with(&["-w", directory], &["hermes", "--version"]);
        assert_eq!(ran.ok(), "(10000, 10000, 10000) [10000] /opt/data");
    }
}

/// The operator has set a PATH for the container that leads through the volume. Root's scripts must not take programs
/// from there.
#[test]
fn a_path_through_the_volume_leads_no_script_of_roots_there() {
    let siege = Siege::of(&["coder"]);
    siege.container.sh_as_hermes(&traps(&planted())).code(0);
    let path = "/opt/data/bin:/opt/hermes/bin:/usr/local/bin:/usr/bin:/bin:/command";
    siege.container.sh(&format!("printf %s '{path}' >/run/s6/container_environment/PATH")).code(0);
    let option = format!("PATH={path}");
    let at = |command: &[&str]| siege.container.exec_with(&["-e", &option], command);
    for script in ["/etc/cont-init.d/01-hermes-setup", "/etc/cont-init.d/02-reconcile-profiles"] {
        at(&[script]).code(0);
    }
    let sources = "/etc/s6-overlay/s6-rc.d";
    at(&[&format!("{sources}/dashboard/run")]).code(0);
    at(&[&format!("{sources}/dashboard/finish"), "0", "0"]).code(125);
    at(&["/usr/bin/timeout", "1", &format!("{sources}/main-hermes/run")]).code(124);
    // Descriptor 3 of this script is usually the pipe to s6-supervise.
    let watch = format!("exec /usr/bin/timeout 2 {sources}/hermes-profile-watch/run 3>/dev/null");
    at(&["/bin/sh", "-c", &watch]).code(124);
    at(&["/opt/hermes/bin/hermes", "-p", "coder", "gateway", "status"]).code(0);
    // The gateway itself may run programs from the account's PATH.
    at(&["/opt/hermes/bin/hermes", "-p", "coder", "gateway", "restart"]);
    at(&["/usr/local/bin/hermes-svc-restart", "-w", "coder"]);
    at(&["/opt/hermes/docker/main-wrapper.sh", "/usr/bin/true"]).code(0);
    siege.unharmed();
}
