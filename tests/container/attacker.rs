//! The attacker inside the running container. The attacker has uid 10000, by `docker exec` and as the gateway itself.
//! The attacker must not be able to make root execute, create, truncate, chown, chmod, delete or reveal anything, or to
//! delay others without bound (SECURITY.md). `tests/suite/sealed` has the same attacks on the tools in trees without a
//! container. Here are those that need a container.
//!
//! If the scandir is open, SECURITY.md makes no such promises, and this module is not run.

use crate::engine::{Container, Ran, Volume, docker};

/// Delays: locks, stopped processes, and many changes.
mod delays;
/// Attacks on processes of root, at every moment of their lives.
mod processes;
/// Programs and start-up files that root must not take from the account.
mod programs;
/// The scandir: no entry of the account in root's, and no scandir of the account's own.
mod scandir;
/// Other things in place of files and directories on the volume.
mod volume;
/// Hostile bytes on their way to a record or a terminal.
mod words;

/// The secret in the canary. No program may print it.
const SECRET: &str = "the-secret-of-root";

/// A shell script. It makes the canary, which is files of root that the account can reach but not read, and writes the
/// present state of everything that root would execute to /root/before.
const REMEMBER: &str = r#"
mkdir -p /srv/canary/dir/logs /tmp/traps; chown hermes: /tmp/traps
for file in file dir/SOUL.md dir/gateway_state.json dir/.env dir/current dir/container-boot.log dir/logs/container-boot.log; do
    echo '{"desired_state":"running","x":"the-secret-of-root"}' >/srv/canary/$file
    chmod 600 /srv/canary/$file
done
look >/root/before"#;

/// The shell function `look`. It prints owner, mode, times and links of every file of root, and the content of the
/// canary. A change of any of them shows in the ctime.
const LOOK: &str = r#"
look() {
    find /etc /root /srv /srv/canary /usr/local /usr/bin /usr/sbin /opt/hermes /command /package /init -xdev \
        '(' -path /root/before -o -path /opt/hermes/.venv/bin/hermes -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf ')' -prune -o \
        -type d -printf '%p %m %U:%G\n' -o -printf '%p %y %m %U:%G %n %s %T@ %C@ %l\n' | sort
    find /srv/canary -type f -exec cat '{}' +
}"#;

/// The program that takes the place of `hermes`. As the gateway, it runs the file `agent` of the account.
const PUPPET: &str = r#"#!/bin/sh
[ ! -x ./agent ] || ./agent
exec /usr/bin/sleep infinity
"#;

/// A container with a canary, for the attacker.
struct Siege {
    container: Container,
    /// The volumes. They have to be dropped after the container.
    volume: Volume,
    _canary: Volume,
}

impl Siege {
    /// Start a container with these profiles, and start their gateways, which run the account's `agent`.
    fn of(profiles: &[&str]) -> Self {
        let volume = Volume::with_profiles(profiles);
        // The canary is on a volume, because the container's own file system may change ctimes by itself on some
        // engines.
        let canary = Volume::new();
        let options = ["-v", &volume.at_home(), "-v", &canary.at("/srv/canary")];
        let container = Container::start(&options, &["sleep", "infinity"]);
        let script = format!("cat >/opt/hermes/.venv/bin/hermes <<'END'\n{PUPPET}END\n{LOOK}\n{REMEMBER}");
        container.sh(&script).code(0);
        let siege = Self { container, volume, _canary: canary };
        if !profiles.is_empty() {
            siege.root("hermes-svc-start", &[&["-w"], profiles].concat()).code(0);
        }
        siege
    }

    /// Run a program as root, by `docker exec`, and check that its output has no secret and no byte that moves a
    /// cursor.
    #[track_caller]
    fn root(&self, program: &str, arguments: &[&str]) -> Ran {
        let ran = self.container.exec(&[&[program], arguments].concat());
        clean(&ran.out);
        clean(&ran.err);
        ran
    }

    /// Run a Perl program as the account.
    #[track_caller]
    fn perl(&self, program: &str, arguments: &[&str]) -> Ran {
        self.container.exec_as("hermes", &[&["perl", "-e", program], arguments].concat())
    }

    /// `docker restart`. The scripts of cont-init.d, with hermes-fix-attrs and the boot pass, run again.
    fn restart(&self) {
        let boots = self.container.logs().matches("reconcile: done").count();
        docker(&["restart", "-t", "90", &self.container.name]).code(0);
        self.container.wait_for_boot(boots + 1);
    }

    /// Check that the account has done no harm: root's files are unchanged, no program of the account ran as root, no
    /// file of root and no secret is on the volume, and no secret is in the log.
    #[track_caller]
    fn unharmed(&self) {
        let changed = self.container.sh(&format!("{LOOK}\nlook | diff /root/before - || true")).ok();
        assert_eq!(changed, "");
        let traps = self.container.sh("cat /tmp/traps/ran-as-0 2>/dev/null || true").ok();
        assert_eq!(traps, "", "the account made root run its programs");
        assert_eq!(self.container.exec(&["find", "/opt/data", "-user", "root"]).ok(), "");
        let told = self.container.sh(&format!("grep -rls -D skip {SECRET} /opt/data /tmp /run || true")).ok();
        assert_eq!(told, "");
        assert!(!self.container.logs().contains(SECRET));
    }
}

/// Check that the text has no byte that moves a cursor, and no secret.
#[track_caller]
fn clean(text: &str) {
    let raw = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(*c, '\u{202a}'..='\u{202e}'));
    assert!(raw.is_none(), "a raw {raw:?} in {text}");
    assert!(!text.contains(SECRET), "{text}");
}

/// A shell script for the account. It makes a program at each of these paths, which records the uid that runs it.
fn traps(paths: &[String]) -> String {
    let trap = "#!/bin/sh\necho \"$0 $*\" >>/tmp/traps/ran-as-$(/usr/bin/id -u)\n";
    let mut script = format!("trap_=$(cat <<'END'\n{trap}END\n)\n");
    for path in paths {
        script +=
            &format!("mkdir -p \"$(dirname '{path}')\"; printf '%s\\n' \"$trap_\" >'{path}'; chmod 755 '{path}'\n");
    }
    script
}

#[test]
fn the_canary_dies_of_what_it_is_there_for() {
    let siege = Siege::of(&[]);
    siege.unharmed();
    let dead = |harm: &str, heal: &str| {
        siege.container.sh(harm).code(0);
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| siege.unharmed()));
        assert!(seen.is_err(), "nobody saw: {harm}");
        siege.container.sh(&format!("{heal}\n{LOOK}\nlook >/root/before")).code(0);
    };
    dead("chmod 601 /srv/canary/file", "chmod 600 /srv/canary/file");
    dead("chown hermes /etc/shadow", "chown root /etc/shadow");
    dead("echo >>/srv/canary/file", "true");
    dead("echo >/usr/local/bin/x", "rm /usr/local/bin/x");
    dead("ln /srv/canary/file /srv/canary/dir/link", "rm /srv/canary/dir/link");
    dead("echo >/opt/data/roots", "rm /opt/data/roots");
    dead("cp /srv/canary/file /opt/data; chown hermes /opt/data/file", "rm /opt/data/file");
    siege.container.sh_as_hermes(&traps(&[String::from("/tmp/traps/trap")])).code(0);
    dead("/tmp/traps/trap", "rm /tmp/traps/ran-as-0");
    siege.unharmed();
}
