//! The black-box suite: the tools as users run them, on real s6-svscan trees.
//!
//! Every test has a tree of its own (`support::Tree`), so all tests run in parallel. Some tests play root and an
//! account. If a plain user runs them, they fail with a message that says so.
#![forbid(unsafe_code)]

/// The support code: trees, tools, profiles, the stand-in gateway.
#[path = "../support/mod.rs"]
mod support;

/// The support code itself: a tree starts, and dies as hard as a container does.
mod trees;

/// A home with files of the account's and of root's.
mod volume;

/// The boot pass: the same gateways up after every boot, however the container died.
mod boot_pass;

/// The lists of profiles that a boot starts, and starts that last until the next boot.
mod autostart;

/// What a pass writes about profiles without room and about what is no profile.
mod crowd;

/// The shared command line, and what the man pages say about it.
mod cli;

/// Completions for bash, zsh and fish.
mod completions;

/// Every invalid name against every tool.
mod names;

/// Slots: published, updated, retired, healed, and closed to the runtime account.
mod slots;

/// start, stop, restart, list; the intent; holds.
mod lifecycle;

/// The status, which is s6's state beside the intent; and the supervisor.
mod status;

/// What hermes-svc-status -x says, and whether it helps.
mod explained;

/// hermes-reconcile-one.
mod reconcile_one;

/// Which home a tool, a slot and a link mean.
mod homes;

/// Whose state is it? Copies, restored volumes and renames.
mod owner;

/// The tools in scripts, as users write them.
mod chaining;

/// Bad input. Each kind has its exit code and its one-line message.
mod bad_input;

/// The decision at boot, compared with that of the Python reconciler.
mod differential;

/// `.env` and `config.yaml` as we read them, compared with Hermes Agent.
mod settings;

/// Impatient users: Ctrl-C, short deadlines, quick orders.
mod impatient;

/// The real Hermes Agent under our slots.
mod hermes_agent;

/// The programs of a slot: the environment, the identity, the lock, the takeover, the template, the logger.
mod gateway;

/// Gateways that start in turn.
mod turns;

/// Limits of memory, kills by the kernel, and the order in which it kills.
mod memory;

/// Ports, and the file that they are recorded in.
mod ports;

/// hermes-fix-attrs.
mod fix_attrs;

/// The bounds of hermes-fix-attrs, and what it could not look at.
mod fix_attrs_bounds;

/// A system call that fails, a kill at a bad moment, a limit that is reached: an error is never an answer.
mod faults;

/// The watcher.
mod watch;

/// Attacks by the runtime account.
mod sealed;

/// Kernels and sandboxes that lack system calls.
mod sandboxes;

/// `make install`.
mod install;

/// The documents, compared with the tree.
mod documents;

/// docs/TROUBLESHOOTING.md.
mod troubleshooting;

/// The tour of README.md.
mod tour;

/// The examples of the manual pages.
mod examples;

/// hermes-svc-logs.
mod logs;
