//! A container in miniature: s6-svscan is process 1 of a PID namespace, and /run is a new one. Root only.

use super::{Ran, Tree};
use std::fs;

impl Tree {
    /// What a command of shell says in such a container, and `exit N` behind it. `setup` runs before s6-svscan takes its
    /// place as process 1: what it leaves running are children of process 1.
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
                self.home().parent().unwrap_or(&self.home()).display()
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
