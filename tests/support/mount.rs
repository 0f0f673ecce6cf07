//! Trees in which other file systems are mounted, in a private mount namespace. Only root can make them.

use super::{Ran, Tree};
use std::fs;

impl Tree {
    /// Run a line of shell with the volume mounted read-only.
    pub fn on_read_only_volume(&self, command: &str) -> Ran {
        let mount =
            r#"mount --bind "$HERMES_HOME" "$HERMES_HOME" && mount -o remount,ro,bind "$HERMES_HOME" || exit 97"#;
        self.tool("unshare").args(["--mount", "sh", "-c", &format!("{mount}\n{command}")]).run()
    }

    /// Run a line of shell with another volume mounted, which is full as soon as `setup` has written its files.
    pub fn on_full_volume(&self, setup: &str, command: &str) -> Ran {
        let (uid, gid) = (self.uid, self.gid);
        let script = format!(
            r#"mount -t tmpfs -o size=256k,mode=0755 none "$HERMES_HOME" || exit 97
               {setup}
               chown -R {uid}:{gid} "$HERMES_HOME"
               cat /dev/zero > "$HERMES_HOME/fill" 2> /dev/null
               {command}"#
        );
        self.tool("unshare").args(["--mount", "sh", "-c", &script]).run()
    }

    /// Run a line of shell in a small container, in which s6-svscan is process 1 of a PID namespace and /run is a new
    /// tmpfs. Returns its output, followed by `exit N`. `setup` runs before s6-svscan takes its place as process 1, so
    /// processes that it leaves running are children of process 1.
    #[track_caller]
    pub fn in_a_container(&self, setup: &str, command: &str) -> Ran {
        let run = format!(
            "#!/bin/sh\n{{ {command}; echo \"exit $?\"; }} > /mnt/tree/scratch/answer 2> /mnt/tree/scratch/errors\n\
             exec s6-svscanctl -t /run/service\n"
        );
        self.script("answer.run", &run);
        let init = self.script(
            "init",
            &format!(
                "#!/bin/sh -e\nmount -t tmpfs -o mode=0755 none /mnt\nmkdir /mnt/tree\nmount --bind {} /mnt/tree\nmount -t tmpfs -o mode=0755 none /run\n\
                 export PATH=/mnt/tree/bin:$PATH HERMES_HOME=/mnt/tree/home HERMES_SLOT_TEMPLATE=/mnt/tree/template\n\
                 unset S6_PROFILE_GATEWAY_SCANDIR\nmkdir -p /run/service/answer\n\
                 cp /mnt/tree/scratch/answer.run /run/service/answer/run\n{setup}\n\
                 exec s6-svscan /run/service < /dev/null > /dev/null 2>&1\n",
                self.root().display()
            ),
        );
        let mut ran =
            self.tool("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", &init]).run();
        let read = |name: &str| fs::read_to_string(self.scratch().join(name));
        ran.stdout = read("answer").unwrap_or_else(|e| panic!("no answer: {e}: {ran}"));
        ran.stderr = read("errors").unwrap_or_default();
        ran
    }
}
