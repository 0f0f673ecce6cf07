use super::*;

#[test]
fn the_examples_of_register_work() {
    let [register, both, ask] = examples("hermes-svc-register.8");
    let tree = yours();
    typed(&tree, &ask);
    typed(&tree, &register);
    let ran = execline(&tree, &both, &["writer"]).account(tree.uid, tree.gid).run();
    ran.is(0, "profile=writer action=registered port=*\nprofile=writer action=started\n", "");
}

#[test]
fn the_examples_of_unregister_work() {
    let [delete, rename] = examples("hermes-svc-unregister.8");
    let tree = yours();
    for name in ["coder", "writer"] {
        tree.tool_as_account("hermes-svc-register").arg(name).run();
    }
    typed(&tree, &delete);
    assert!(!tree.profile_dir("writer").exists());
    let ran = execline(&tree, &rename, &["coder", "scout"]).account(tree.uid, tree.gid).run();
    ran.is(0, "profile=coder action=unregistered\nreconcile: profile=scout *\n", "");
    assert_eq!(tree.slots(), ["scout"]);
}

#[test]
fn the_examples_of_start_work() {
    let [start, repair, show_log] = examples("hermes-svc-start.8");
    let tree = serving();
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run();
    let printed = typed(&tree, &start);
    assert!(printed.contains(r#""status": "ok""#), "{printed}");
    let tree = super::tree();
    assert_eq!(typed(&tree, &repair), "profile=coder action=unchanged\n");
    execline(&tree, &show_log, &["coder"]).run().is(0, "profile=coder action=unchanged\n", "");
    tree.profile("writer").stand_in("exit_at_start=78\n");
    let ran = execline(&tree, &show_log, &["writer"]).run();
    ran.is(0, "**stand-in gateway of writer\n*writer exited with 78 *\n*\n", "hermes-svc-start: fatal: *\n");
}

#[test]
fn the_examples_of_stop_work() {
    let [stop, all, edit] = examples("hermes-svc-stop.8");
    let tree = tree();
    crate::support::executable(&tree.bin().join("vi"), "#!/bin/sh\necho 'model: x' >\"$1\"\n");
    typed_in(&tree, &edit, &tree.home());
    assert_eq!(tree.profile("coder").read("config.yaml"), "model: x\n");
    tree.wait_up("coder");
    execline(&tree, &all, &[]).run().is(0, "profile=coder action=stopped\n", "");
    assert_eq!(tree.profile("coder").desired().as_deref(), Some("running"));
    tree.tool("hermes-svc-start").arg("coder").run();
    typed(&tree, &stop);
    assert_eq!(tree.profile("coder").desired().as_deref(), Some("stopped"));
}

#[test]
fn the_examples_of_restart_work() {
    let [one_by_one, all] = examples("hermes-svc-restart.8");
    let tree = tree();
    execline(&tree, &one_by_one, &[]).run().is(0, "profile=coder action=restarted\n", "");
    tree.tool("hermes-svc-start").args(["-W", "default"]).run();
    typed(&tree, &all);
    assert_eq!(tree.profile("coder").starts(), 3);
}

#[test]
fn the_examples_of_port_alloc_work() {
    let [ports, healthy, serve] = examples("hermes-port-alloc.8");
    let tree = serving();
    let printed = typed(&tree, &healthy);
    assert!(printed.contains(r#""status": "ok""#), "{printed}");
    tree.tool("hermes-svc-unregister").arg("writer").run();
    typed(&tree, &ports);
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run();
    let port = tree.tool("hermes-port-alloc").arg("coder").run().stdout;
    let address = format!("http://127.0.0.1:{}/", port.trim());
    let server = execline(&tree, &serve, &[]).start();
    wait_until("the server", || tree.tool("curl").args(["-fsS", &address]).run().stdout.contains("example"));
    crate::support::kill(server.pid, rustix::process::Signal::KILL);
}

#[test]
fn the_examples_of_the_files_of_a_profile_work() {
    let [by_hand, wanted, port] = examples("hermes-profile.5");
    let tree = serving();
    let watch = tree.tool("hermes-profile-watch").args(["hermes-reconcile-one", "-q", "--"]).start();
    typed(&tree, &by_hand);
    wait_until("the slot", || tree.slot("scout").exists());
    crate::support::kill(watch.pid, rustix::process::Signal::TERM);
    typed(&tree, &wanted);
    // Nobody knows whether the port of the page is free here.
    let free = free_port().to_string();
    typed(&tree, &port.replace("8080", &free));
    tree.tool("hermes-port-alloc").arg("coder").run().is(0, &format!("{free}\n"), "");
}

#[test]
fn the_examples_of_the_overview_work() {
    let [use_it, container, why] = examples("hermes-services.7");
    let tree = serving();
    tree.tool("hermes-svc-unregister").arg("coder").run();
    let printed = typed(&tree, &use_it);
    assert!(printed.contains(r#""status": "ok""#), "{printed}");
    assert!(typed(&tree, &why).ends_with("next: nothing: all is well\n"));
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    tree.profile("writer");
    let (options, file) = script(&tree, &container);
    // The script ends as process 1 in place of the s6-svscan of the test.
    let asked = "hermes-svc-start -W coder; mkdir \"$HERMES_HOME/profiles/scout\"; echo x >\"$HERMES_HOME/profiles/scout/SOUL.md\"
        until [ -e /run/service/gateway-scout/supervise/status ]; do sleep 0.01; done; hermes-svc-list";
    let ran = tree.in_a_container(&format!("exec execlineb {options} {}", inside(&file)), asked);
    ran.is(0, "profile=coder action=*\ndefault\ncoder\nscout\nwriter\nexit 0\n", "");
}

#[test]
fn the_examples_of_home_work() {
    let [both] = examples("hermes-home.8");
    let tree = tree();
    typed(&tree, &both.replace("/opt/data", &tree.home().display().to_string()));
}
