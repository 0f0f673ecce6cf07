//! The state of a tree's scandir and slots, according to s6.

use super::{Profile, Tree, start_time, wait_for, wait_until};
use std::fs;
use std::path::Path;

impl Tree {
    /// The pids of the processes that wait for the readiness of a gateway.
    pub fn pollers(&self) -> Vec<u32> {
        // The parent of such a process has the same arguments, and ends at once.
        let ours = |p: &super::Process| {
            p.args.starts_with("hermes-gateway-ready -p") && !p.args.contains(&format!("-p {} ", p.ppid))
        };
        self.processes().into_iter().filter(ours).map(|p| p.pid).collect()
    }

    /// The pid of the s6-supervise that works in this directory, if there is one.
    pub fn supervisor(&self, service: &Path) -> Option<u32> {
        self.processes().into_iter().find(|p| p.comm == "s6-supervise" && p.cwd == service).map(|p| p.pid)
    }

    /// The words of `s6-svstat -o FIELDS` for this profile's slot; `None` if no s6-supervise runs there.
    pub fn svstat(&self, profile: &str, fields: &str) -> Option<Vec<String>> {
        let ran = self.tool("s6-svstat").args(["-o", fields]).arg(self.slot(profile)).run();
        (ran.code == 0).then(|| ran.stdout.split_whitespace().map(str::to_string).collect())
    }

    /// The pid of this profile's gateway, if it is up according to s6.
    pub fn gateway(&self, profile: &str) -> Option<u32> {
        let stat = self.svstat(profile, "up,pid")?;
        if stat[0] == "true" { stat[1].parse().ok() } else { None }
    }

    /// Wait until this profile's gateway has started and its state file says `running`. Returns its pid. Our tools are
    /// not asked.
    #[track_caller]
    pub fn wait_up(&self, profile: &str) -> u32 {
        wait_for(&format!("the gateway of {profile} to run"), || {
            let pid = self.gateway(profile)?;
            let starts = fs::read_to_string(self.profile_dir(profile).join("stand-in.starts")).ok()?;
            let last = starts.lines().last()?;
            let state = Profile::at(self, profile).json();
            let running = state["gateway_state"] == "running" && state["pid"] == pid;
            (running && last == format!("{pid} {}", start_time(pid)?)).then_some(pid)
        })
    }

    /// Wait until this profile's gateway is down and not wanted up, according to s6.
    #[track_caller]
    pub fn wait_down(&self, profile: &str) {
        wait_until(&format!("the gateway of {profile} to be down"), || {
            self.svstat(profile, "up,wantedup").is_some_and(|s| s == ["false", "false"])
        });
    }

    /// Entries of the scandir that are neither slots nor s6's nor s6-rc's nor a lock. There must be none after a command.
    pub fn leftovers(&self) -> Vec<String> {
        let mut names: Vec<String> = (fs::read_dir(self.scandir()).expect("scandir").flatten())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| {
                n != ".s6-svscan"
                    && ![".hermes-s6.lock", ".hermes-s6.turns", "s6rc-oneshot-runner"].contains(&n.as_str())
                    && !n.starts_with("gateway-")
            })
            .collect();
        names.sort();
        names
    }

    /// Names of the slots in the scandir, sorted.
    pub fn slots(&self) -> Vec<String> {
        let mut names: Vec<String> = (fs::read_dir(self.scandir()).expect("scandir").flatten())
            .filter_map(|e| e.file_name().to_string_lossy().strip_prefix("gateway-").map(str::to_string))
            .collect();
        names.sort();
        names
    }
}
