//! Where options of connections and of becoming another user may be said.

use consort_jinja::Variables as _;

use super::Reach;
use crate::action::Failure;

pub(super) struct OptionSource {
    pub(super) name: &'static str,
    pub(super) variables: &'static [&'static str],
    pub(super) keys: &'static [(&'static str, &'static str)],
    pub(super) environment: &'static [&'static str],
    /// Other plugins have it too.
    pub(super) common: bool,
}

const fn option(
    name: &'static str,
    variables: &'static [&'static str],
    keys: &'static [(&'static str, &'static str)],
    environment: &'static [&'static str],
) -> OptionSource {
    OptionSource {
        name,
        variables,
        keys,
        environment,
        common: false,
    }
}

impl Reach {
    pub(super) fn options(
        &self,
        leaf: &str,
        into: &mut Vec<(String, String)>,
    ) -> Result<(), Failure> {
        for option in SSH_OPTIONS {
            if leaf != "ssh" && !option.common {
                continue;
            }
            let value = match self.text(option.variables)? {
                Some(value) => Some(value),
                None => self
                    .run
                    .connection_option(option.name)
                    .map(str::to_owned)
                    .or_else(|| self.run.raw(option.environment, option.keys)),
            };
            if let Some(value) = value {
                into.push((option.name.to_owned(), value));
            }
        }
        if leaf != "ssh" {
            let prefix = format!("ansible_{leaf}_");
            for name in self.variables.names() {
                let Some(option) = name.strip_prefix(&prefix) else {
                    continue;
                };
                if let Some(value) = self.text(&[&name])? {
                    into.push((option.to_owned(), value));
                }
            }
        }
        Ok(())
    }
}

/// What is settled of becoming another user beside the method, the user and the password.
pub(super) const BECOME_OPTIONS: &[OptionSource] = &[
    OptionSource {
        name: "become_success_timeout",
        common: true,
        variables: &["ansible_local_become_success_timeout"],
        environment: &[],
        keys: &[],
    },
    OptionSource {
        name: "prompt_l10n",
        common: true,
        variables: &["ansible_su_prompt_l10n"],
        environment: &["ANSIBLE_SU_PROMPT_L10N"],
        keys: &[("su_become_plugin", "localized_prompts")],
    },
    OptionSource {
        name: "sudo_chdir",
        common: true,
        variables: &["ansible_sudo_chdir"],
        environment: &["ANSIBLE_SUDO_CHDIR"],
        keys: &[("sudo_become_plugin", "chdir")],
    },
];

/// The options of the plugin `ssh`: its documentation says where each comes from.
const SSH_OPTIONS: &[OptionSource] = &[
    option(
        "host_key_checking",
        &["ansible_host_key_checking", "ansible_ssh_host_key_checking"],
        &[
            ("defaults", "host_key_checking"),
            ("ssh_connection", "host_key_checking"),
        ],
        &["ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"],
    ),
    option(
        "password_mechanism",
        &["ansible_ssh_password_mechanism"],
        &[("ssh_connection", "password_mechanism")],
        &["ANSIBLE_SSH_PASSWORD_MECHANISM"],
    ),
    option(
        "sshpass_prompt",
        &["ansible_sshpass_prompt"],
        &[("ssh_connection", "sshpass_prompt")],
        &["ANSIBLE_SSHPASS_PROMPT"],
    ),
    option(
        "ssh_args",
        &["ansible_ssh_args"],
        &[("ssh_connection", "ssh_args")],
        &["ANSIBLE_SSH_ARGS"],
    ),
    option(
        "ssh_common_args",
        &["ansible_ssh_common_args"],
        &[("ssh_connection", "ssh_common_args")],
        &["ANSIBLE_SSH_COMMON_ARGS"],
    ),
    option(
        "ssh_executable",
        &["ansible_ssh_executable"],
        &[("ssh_connection", "ssh_executable")],
        &["ANSIBLE_SSH_EXECUTABLE"],
    ),
    option(
        "sftp_executable",
        &["ansible_sftp_executable"],
        &[("ssh_connection", "sftp_executable")],
        &["ANSIBLE_SFTP_EXECUTABLE"],
    ),
    option(
        "scp_executable",
        &["ansible_scp_executable"],
        &[("ssh_connection", "scp_executable")],
        &["ANSIBLE_SCP_EXECUTABLE"],
    ),
    option(
        "scp_extra_args",
        &["ansible_scp_extra_args"],
        &[("ssh_connection", "scp_extra_args")],
        &["ANSIBLE_SCP_EXTRA_ARGS"],
    ),
    option(
        "sftp_extra_args",
        &["ansible_sftp_extra_args"],
        &[("ssh_connection", "sftp_extra_args")],
        &["ANSIBLE_SFTP_EXTRA_ARGS"],
    ),
    option(
        "ssh_extra_args",
        &["ansible_ssh_extra_args"],
        &[("ssh_connection", "ssh_extra_args")],
        &["ANSIBLE_SSH_EXTRA_ARGS"],
    ),
    option(
        "reconnection_retries",
        &["ansible_ssh_retries"],
        &[("connection", "retries"), ("ssh_connection", "retries")],
        &["ANSIBLE_SSH_RETRIES"],
    ),
    option(
        "private_key_file",
        &["ansible_private_key_file", "ansible_ssh_private_key_file"],
        &[("defaults", "private_key_file")],
        &["ANSIBLE_PRIVATE_KEY_FILE"],
    ),
    option(
        "private_key",
        &["ansible_private_key", "ansible_ssh_private_key"],
        &[],
        &["ANSIBLE_PRIVATE_KEY"],
    ),
    option(
        "private_key_passphrase",
        &[
            "ansible_private_key_passphrase",
            "ansible_ssh_private_key_passphrase",
        ],
        &[],
        &["ANSIBLE_PRIVATE_KEY_PASSPHRASE"],
    ),
    option(
        "control_path",
        &["ansible_control_path"],
        &[("ssh_connection", "control_path")],
        &["ANSIBLE_SSH_CONTROL_PATH"],
    ),
    option(
        "control_path_dir",
        &["ansible_control_path_dir"],
        &[("ssh_connection", "control_path_dir")],
        &["ANSIBLE_SSH_CONTROL_PATH_DIR"],
    ),
    option(
        "sftp_batch_mode",
        &["ansible_sftp_batch_mode"],
        &[("ssh_connection", "sftp_batch_mode")],
        &["ANSIBLE_SFTP_BATCH_MODE"],
    ),
    option(
        "ssh_transfer_method",
        &["ansible_ssh_transfer_method"],
        &[("ssh_connection", "transfer_method")],
        &["ANSIBLE_SSH_TRANSFER_METHOD"],
    ),
    option(
        "use_tty",
        &["ansible_ssh_use_tty"],
        &[("ssh_connection", "usetty")],
        &["ANSIBLE_SSH_USETTY"],
    ),
    OptionSource {
        name: "timeout",
        variables: &["ansible_timeout", "ansible_ssh_timeout"],
        keys: &[("defaults", "timeout"), ("ssh_connection", "timeout")],
        environment: &["ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"],
        common: true,
    },
    option(
        "pkcs11_provider",
        &["ansible_ssh_pkcs11_provider"],
        &[("ssh_connection", "pkcs11_provider")],
        &["ANSIBLE_PKCS11_PROVIDER"],
    ),
    option(
        "verbosity",
        &["ansible_ssh_verbosity"],
        &[("ssh_connection", "verbosity")],
        &["ANSIBLE_SSH_VERBOSITY"],
    ),
];
