use super::*;

/// The slot of default runs this example.
#[track_caller]
fn runs_in_a_slot(tree: &Tree, example: &str) {
    let own = tree.root().join("own");
    crate::support::copy_template(&own, &tree.bin());
    // The interpreter is not at the place that the first line names.
    let (options, file) = script(tree, example);
    let run = format!("#!/bin/sh\nexec execlineb {options} {file} \"$@\"\n");
    crate::support::executable(&own.join("run"), &run);
    tree.tool("hermes-svc-register").args(["-t", "60000", "-T"]).arg(&own).arg("default").run().is(0, "**", "");
    tree.tool("hermes-svc-start").args(["-W", "default"]).run().is(0, "profile=default action=started\n", "");
}

#[test]
fn the_examples_of_gateway_ready_work() {
    let [run, shell, why] = examples("hermes-gateway-ready.8");
    let tree = Tree::up();
    tree.profile("default");
    runs_in_a_slot(&tree, &run);
    let tree = super::tree();
    super::shell(&tree, &shell).run().is(0, "go ahead\n", "");
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run();
    super::shell(&tree, &shell).run().is(0, "", "");
    keyboard(&tree, &command(&why)).run().is(1, "", "hermes-gateway-ready: info: *\n");
}

#[test]
fn the_examples_of_run_gateway_work() {
    let [run, environment, foreground] = examples("hermes-run-gateway.8");
    let mut tree = Tree::up();
    tree.env.push(("HOME".to_string(), tree.scratch().display().to_string()));
    tree.profile("default");
    tree.profile("coder");
    runs_in_a_slot(&tree, &run);
    let printed = typed(&tree, &environment);
    assert!(printed.contains("API_SERVER_PORT=9530\n"), "{printed}");
    let home = tree.scratch().join(".hermes");
    tree.tool_as_account("mkdir").arg(&home).run().is(0, "", "");
    typed_on(&tree, &foreground);
    wait_until("the gateway", || {
        let output = fs::read_to_string(tree.scratch().join("output")).unwrap_or_default();
        assert!(!output.contains("fatal"), "{output}");
        home.join("stand-in.starts").exists()
    });
}

#[test]
fn the_examples_of_run_logger_work() {
    let [run, read] = examples("hermes-run-logger.8");
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    let (options, file) = script(&tree, &run);
    let logger = tree.tool("sh").args(["-c", &format!("exec execlineb {options} {file} 3>ready")]);
    logger.input("a line\n").run().is(0, "**a line\n", "");
    let log = tree.home().join("logs/gateways/default/current");
    assert!(fs::read_to_string(log).expect("the log").ends_with("a line\n"));
    typed_on(&tree, &read);
    wait_for_output(&tree, "stand-in gateway of coder");
}

/// A server for one request, whose text it returns.
fn chat() -> (String, std::thread::JoinHandle<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    let served = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        while !request.trim_end().ends_with('}') {
            let read = client.read(&mut buffer).expect("a request");
            request += &String::from_utf8_lossy(&buffer[..read]);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("an answer");
        request
    });
    (address, served)
}

#[test]
fn the_examples_of_run_hook_work() {
    let [program, try_it] = examples("hermes-run-hook.8");
    let mut tree = Tree::new();
    tree.profile("coder");
    let (address, served) = chat();
    let tell = tree.script("tell", &program);
    tree.env.extend([("HERMES_ON_EVENT".to_string(), tell), ("CHAT_URL".to_string(), address)]);
    // The program says nothing of a death, so that the request is that of the second event.
    tree.tool("hermes-run-hook").args(["coder", "died"]).run().is(0, "", "");
    typed(&tree, &try_it);
    let request = served.join().expect("a request");
    assert!(request.contains(r#""event":"held","profile":"coder","reason":"only a test""#), "{request}");
}
