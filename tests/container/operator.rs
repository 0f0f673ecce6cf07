use crate::engine::{Container, Volume};

#[test]
fn a_shell_in_the_container_completes_the_tools_and_the_profiles() {
    let volume = Volume::with_profiles(&["coder"]);
    let container = Container::on(&volume);
    // Without a terminal the shell warns of that on standard error.
    let complete = "COMP_WORDS=(hermes-svc-start --o) COMP_CWORD=1; _hermes_s6; echo \"${COMPREPLY[@]}\"
        COMP_WORDS=(hermes-svc-stop c) COMP_CWORD=1; _hermes_s6; echo \"${COMPREPLY[@]}\"
        complete -p hermes-svc-status";
    for user in ["root", "hermes"] {
        let ran = container.exec_as(user, &["bash", "-ic", complete]).code(0);
        assert_eq!(ran.out, "--once\ncoder\ncomplete -F _hermes_s6 hermes-svc-status\n", "{}", ran.err);
    }
}
