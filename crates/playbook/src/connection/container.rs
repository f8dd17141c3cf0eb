//! Containers and other places of this machine whose shell a program gives: `docker exec`, `chroot`, ...

use super::ConnectionSettings;

/// A way into a container: the program and its arguments before the shell.
#[derive(Debug)]
pub(super) struct Container {
    arguments: Vec<String>,
    shell: String,
}

/// Whether there is a way of this name.
pub(super) fn known(plugin: &str) -> bool {
    matches!(
        plugin,
        "docker"
            | "community.docker.docker"
            | "podman"
            | "containers.podman.podman"
            | "buildah"
            | "containers.podman.buildah"
            | "kubectl"
            | "kubernetes.core.kubectl"
            | "oc"
            | "community.okd.oc"
            | "chroot"
            | "community.general.chroot"
            | "lxc"
            | "lxd"
            | "community.general.lxd"
            | "incus"
            | "community.general.incus"
            | "nsenter"
            | "community.docker.nsenter"
            | "machine"
    )
}

/// The way into a machine of this host: the words of its `exec`, or what finds it by its name.
fn machine(
    exec: Option<&str>,
    address: String,
    user: Option<String>,
) -> Result<Vec<String>, String> {
    let mut words = match exec {
        Some(exec) => shlex::split(exec)
            .filter(|words| !words.is_empty())
            .ok_or_else(|| format!("ansible_machine_exec is no command: {exec}"))?,
        None => vec![
            "consort".to_owned(),
            "machine".to_owned(),
            "exec".to_owned(),
            address,
            "--".to_owned(),
        ],
    };
    let is_own = words.first().is_some_and(|word| word == "consort");
    if is_own && let Some(place) = words.iter().position(|word| word == "exec") {
        let mut more = vec!["--stdin".to_owned()];
        if let Some(user) = user {
            more.push(format!("--user={user}"));
        }
        let rest = words.split_off(place + 1);
        words.extend(more);
        words.extend(rest);
    }
    // This very program, wherever it lies.
    if is_own
        && let Ok(own) = std::env::current_exe()
        && own
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("consort"))
    {
        words[0] = own.to_string_lossy().into_owned();
    }
    Ok(words)
}

impl Container {
    /// From the settings of a connection.
    pub(super) fn new(settings: &ConnectionSettings) -> Result<Self, String> {
        let plugin = settings.plugin.rsplit('.').next().unwrap_or_default();
        let option = |name: &str| settings.option(name).filter(|text| !text.is_empty());
        let split = |text: Option<&str>| -> Result<Vec<String>, String> {
            shlex::split(text.unwrap_or_default())
                .ok_or_else(|| format!("No closing quotation in arguments of {plugin}"))
        };
        let address = settings.address.clone();
        let user = settings.user.clone().filter(|user| !user.is_empty());
        let mut arguments: Vec<String> = Vec::new();
        match plugin {
            "docker" | "podman" => {
                let (usual, command, extra) = if plugin == "docker" {
                    ("docker", "docker_command", "docker_extra_args")
                } else {
                    ("podman", "podman_executable", "podman_extra_args")
                };
                let program = option(command).or(option("executable")).unwrap_or(usual);
                arguments.push(program.to_owned());
                arguments.extend(split(option(extra).or(option("extra_args")))?);
                arguments.extend(["exec".to_owned(), "-i".to_owned()]);
                if option("privileged").is_some_and(|said| {
                    matches!(said.to_lowercase().as_str(), "true" | "yes" | "on" | "1")
                }) {
                    arguments.push("--privileged".to_owned());
                }
                if let Some(user) = user {
                    arguments.extend(["-u".to_owned(), user]);
                }
                if let Some(directory) = option("working_dir") {
                    arguments.extend(["-w".to_owned(), directory.to_owned()]);
                }
                arguments.push(address);
            }
            "buildah" => {
                arguments.extend(["buildah".to_owned(), "run".to_owned()]);
                if let Some(user) = user {
                    arguments.extend(["--user".to_owned(), user]);
                }
                arguments.extend([address, "--".to_owned()]);
            }
            "kubectl" | "oc" => {
                arguments.push(plugin.to_owned());
                for (name, flag) in [
                    ("kubectl_kubeconfig", "--kubeconfig"),
                    ("kubectl_context", "--context"),
                    ("kubectl_namespace", "--namespace"),
                    ("kubectl_host", "--server"),
                ] {
                    if let Some(value) = option(name).or(option(&name.replace("kubectl", "oc"))) {
                        arguments.extend([flag.to_owned(), value.to_owned()]);
                    }
                }
                arguments.extend(split(option("kubectl_extra_args"))?);
                let pod = option("kubectl_pod").unwrap_or(&address).to_owned();
                arguments.extend(["exec".to_owned(), "-i".to_owned(), pod]);
                if let Some(container) = option("kubectl_container") {
                    arguments.extend(["-c".to_owned(), container.to_owned()]);
                }
                arguments.push("--".to_owned());
            }
            "chroot" => {
                let program = option("chroot_exe").unwrap_or("chroot");
                arguments.extend([program.to_owned(), address]);
            }
            "lxc" => {
                arguments.extend([
                    "lxc-attach".to_owned(),
                    "-n".to_owned(),
                    address,
                    "--".to_owned(),
                ]);
            }
            "lxd" | "incus" => {
                let program = if plugin == "lxd" { "lxc" } else { "incus" };
                let remote = option("remote").unwrap_or("local");
                arguments.extend([
                    option("executable").unwrap_or(program).to_owned(),
                    "exec".to_owned(),
                    format!("{remote}:{address}"),
                    "--".to_owned(),
                ]);
            }
            "nsenter" => {
                let process = option("nsenter_pid").unwrap_or("1");
                arguments.extend(
                    [
                        "nsenter",
                        "--ipc",
                        "--mount",
                        "--net",
                        "--pid",
                        "--uts",
                        "--preserve-credentials",
                    ]
                    .map(str::to_owned),
                );
                arguments.extend([format!("--target={process}"), "--".to_owned()]);
            }
            "machine" => arguments = machine(option("exec"), address, user)?,
            _ => {
                return Err(format!(
                    "the connection plugin '{}' was not found",
                    settings.plugin
                ));
            }
        }
        Ok(Container {
            arguments,
            shell: settings.shell.clone(),
        })
    }

    /// The command that runs a line in the shell there.
    pub(super) fn command(&self, line: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.arguments[0]);
        command
            .args(&self.arguments[1..])
            .args([&self.shell, "-c", line])
            .process_group(0);
        command
    }
}
