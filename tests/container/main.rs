//! Tests of a running container. The image is booted with this machine's container engine, and has the real Hermes
//! Agent. `make test-container` builds the image and runs the tests. `HERMES_S6_IMAGE` is the name of the image. The s6
//! layer of the image may be the real one or the stand-in, and the tests are the same for both.

mod engine;
#[path = "../support/wait.rs"]
mod wait;

/// The account, the home, and the owners of files.
mod accounts;
/// An image that was built with build arguments.
mod arguments;
/// Attacks of the account on root, in a sealed container.
mod attacker;
/// Hermes Agent's own client, with and without the shim.
mod client;
/// The container's command.
mod command;
/// The content of the image.
mod image;
/// The layer for somebody's own image.
mod layer;
/// compose.yaml and deploy/, compared with their schemas.
mod manifests;
/// HERMES_OPEN_SCANDIR=1, with which the scandir belongs to the account.
mod open_scandir;
/// What an operator sees and types in a container: log, events, completions, pages.
mod operator;
/// What is recommended for Podman alone.
mod podman;
/// Profiles that appear, go and change their names while the container runs.
mod profiles;
/// Set-ups that cannot work, and the messages about them.
mod refusals;
/// Restarts of the container, and which gateways come back.
mod restart;
/// s6-rc.d, compared with the documentation of s6-rc's source format.
mod s6_rc;
/// The static services main-hermes and dashboard.
mod services;
/// Two containers on one volume.
mod sharing;
/// What a user of Hermes Agent's own image relies on: docs/UPSTREAM.md.
mod upstream;
