//! What is recommended for Podman alone. `ENGINE=podman` selects these tests, and those in `rootless` if the caller is
//! not root.

use crate::engine::{Container, Volume, docker, image, label, run, unique, until};
use std::path::PathBuf;

/// The pod of deploy/kubernetes.yaml, with the image under test and this volume.
fn manifest(name: &str, volume: &Volume) -> String {
    let text = include_str!("../../deploy/kubernetes.yaml");
    let template = text.split_once("\n    spec:\n").expect("a template").1;
    let template = template.split_once("\n  volumeClaimTemplates:").expect("volumes").0;
    let spec = format!("\n{template}").replace("\n    ", "\n").replace("hermes-s6:latest", &image());
    let label = label().replace('=', ": \"");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels:\n    {label}\"\nspec:{spec}\n    \
         - name: data\n      persistentVolumeClaim:\n        claimName: {}\n",
        volume.name()
    )
}

/// A manifest whose pod is removed when this value is dropped.
struct Manifest(PathBuf);

impl Manifest {
    fn kube(&self, order: &str) -> crate::engine::Ran {
        docker(&["kube", order, self.0.to_str().expect("a path")])
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        self.kube("down");
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The container is dropped first, so that its log can still be printed.
struct Pod {
    container: Container,
    _manifest: Manifest,
}

impl Pod {
    fn play(volume: &Volume) -> Self {
        let name = unique("pod");
        let manifest = Manifest(std::env::temp_dir().join(format!("{name}.yaml")));
        std::fs::write(&manifest.0, self::manifest(&name, volume)).unwrap();
        let container = Container { name: format!("{name}-hermes") };
        manifest.kube("play").ok();
        container.wait_for_boot(1);
        Self { container, _manifest: manifest }
    }
}

#[test]
fn the_pod_of_the_kubernetes_manifest_runs_its_gateways_and_has_them_back() {
    let volume = Volume::with_profiles(&["coder", "writer"]);
    let pod = Pod::play(&volume);
    pod.container.start_ready(&["coder"]);
    // A read-only root, five capabilities, and no way to more.
    let rights = "! touch /x; grep -q '^CapBnd:.*e3$' /proc/1/status; grep -q '^NoNewPrivs:.*1$' /proc/1/status";
    pod.container.sh(rights).code(0);
    drop(pod);
    let pod = Pod::play(&volume);
    until("coder is healthy", 240, || pod.container.healthy("coder"));
    assert_eq!(pod.container.state("writer"), "down");
    assert!(!pod.container.logs().contains("hermes-setup: warning"), "{}", pod.container.logs());
}

mod rootless {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_directory_of_the_host_stays_its_users_and_the_tree_is_sealed() {
        let home = std::env::temp_dir().join(unique("home"));
        std::fs::create_dir(&home).unwrap();
        let at_home = format!("{}:/opt/data", home.display());
        let options = ["--userns=keep-id:uid=10000,gid=10000", "--user", "0:0", "-v", &at_home];
        let container = Container::start(&options, &["sleep", "infinity"]);
        container.start_ready(&["default"]);
        assert_eq!(container.sh("stat -c %U /run/service; id -u").ok(), "root\n0");
        container.sh_as_hermes("! touch /run/service/x").code(0);
        assert!(!container.logs().contains("hermes-setup: warning"), "{}", container.logs());
        container.stop(90);
        let user = run("id", &["-u"]).ok();
        for file in [home.clone(), home.join("SOUL.md"), home.join("gateway_state.json")] {
            assert_eq!(std::fs::metadata(&file).unwrap().uid().to_string(), user, "{}", file.display());
        }
        std::fs::remove_dir_all(home).unwrap();
    }
}
