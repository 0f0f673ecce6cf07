//! What is true of a running container: the image is booted with the engine that is there, with the real Hermes Agent in
//! it. `make test-container` builds the image and runs this. The image's name is in `HERMES_S6_IMAGE`; its s6 layer may be
//! the real one or the stand-in, and nothing here asks which.

mod engine;

/// The account, the home and who owns what in it.
mod accounts;
/// The account against root, in a sealed container.
mod attacker;
/// Hermes Agent's own client, through the shim and without it.
mod client;
/// What the container's command becomes.
mod command;
/// What the image is made of.
mod image;
/// compose.yaml and deploy/, against their schemas.
mod manifests;
/// The way back: the scandir is the account's.
mod open_scandir;
/// Profiles that come, go and change their names while the container runs.
mod profiles;
/// Set-ups that cannot work, and what is said of them.
mod refusals;
/// Restarts, and what comes back.
mod restart;
/// s6-rc.d against the documented source format.
mod s6_rc;
/// main-hermes and dashboard.
mod services;
/// Two containers on one volume.
mod sharing;
