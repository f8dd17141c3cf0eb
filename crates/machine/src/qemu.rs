//! Machines that are virtual: one QEMU process each, which belongs to nobody.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_net::bridge;
use tokio::process::Command;

use crate::cloud_init;
use crate::error::Error;
use crate::machines::{Inner, State, blocking};
use crate::names;
use crate::qmp::Qmp;
use crate::records::{MachineRecord, NetworkRecord};
use crate::spec::{Accel, Base, VmSpec};

/// The program; from Debian's `qemu-system-x86`, other distributions name it alike.
const QEMU: &str = "qemu-system-x86_64";
/// How long QEMU may take to be there.
const START_TIME: Duration = Duration::from_secs(60);
/// How long it may take to be gone once it was told to quit.
const QUIT_TIME: Duration = Duration::from_secs(15);
/// How long a new guest is watched: one that the processor cannot run fails in its first instructions.
const FIRST_MOMENT: Duration = Duration::from_millis(300);
/// Memory of a machine that asks for none, in MiB.
const MEMORY: u64 = 512;
const POLL: Duration = Duration::from_millis(20);

/// The first bytes of a disk image in QEMU's own form.
const QCOW2: [u8; 4] = *b"QFI\xfb";

fn fail(name: &str, message: impl Into<String>) -> Error {
    Error::Qemu {
        name: name.to_owned(),
        message: message.into(),
    }
}

/// What tells its process from all others; stands on its command line.
fn title(instance: &str, name: &str) -> String {
    format!("consort-{instance}-{name}")
}

fn is_qcow2(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok()
        && magic == QCOW2
}

/// Commas end an option's value unless there are two.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Whether the processor's virtualisation can be had at all.
fn has_kvm() -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

fn arguments(
    instance: &str,
    record: &MachineRecord,
    vm: &VmSpec,
    home: &Path,
    tap: &str,
    kvm: bool,
) -> Vec<String> {
    let spec = &record.spec;
    let cpus = spec.cpu_milli.map_or(1, |milli| milli.div_ceil(1000));
    let mut all: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    let title = title(instance, &spec.name);
    add(&["-name", &format!("{},process={}", spec.name, title)]);
    add(&["-machine", "q35", "-accel", if kvm { "kvm" } else { "tcg" }]);
    add(&["-cpu", if kvm { "host" } else { "max" }]);
    add(&[
        "-smp",
        &cpus.to_string(),
        "-m",
        &format!("{}M", spec.memory_mib.unwrap_or(MEMORY)),
    ]);
    add(&[
        "-nodefaults",
        "-display",
        "none",
        "-device",
        "virtio-rng-pci",
    ]);
    add(&["-serial", "file:console.log"]);
    add(&[
        "-qmp",
        "unix:qmp.sock,server=on,wait=off",
        "-pidfile",
        "qemu.pid",
        "-daemonize",
    ]);
    add(&[
        "-netdev",
        &format!("tap,id=net0,ifname={tap},script=no,downscript=no"),
    ]);
    add(&[
        "-device",
        &format!("virtio-net-pci,netdev=net0,mac={}", record.mac),
    ]);
    if let Some(kernel) = &vm.kernel {
        add(&["-kernel", &kernel.display().to_string()]);
        if let Some(initrd) = &vm.initrd {
            add(&["-initrd", &initrd.display().to_string()]);
        }
        let cmdline = format!("console=ttyS0 {}", vm.cmdline);
        add(&["-append", cmdline.trim()]);
    }
    if vm.disk.is_some() {
        let disk = home.join("disk");
        let form = if is_qcow2(&disk) { "qcow2" } else { "raw" };
        add(&[
            "-drive",
            &format!("file={},if=virtio,format={form}", escaped(&disk)),
        ]);
        add(&[
            "-drive",
            &format!(
                "file.driver=vvfat,file.dir={},file.label=CIDATA,if=virtio,format=raw,readonly=on",
                escaped(&home.join("seed"))
            ),
        ]);
    }
    all
}

impl Inner {
    fn vm_pid(&self, name: &str) -> Option<i32> {
        let text = fs::read_to_string(self.records.home(name).join("qemu.pid")).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        // Another process may have the number by now.
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let title = title(&self.options.instance, name);
        let ours = command
            .split(|byte| *byte == 0)
            .any(|word| word.ends_with(format!("process={title}").as_bytes()));
        ours.then_some(pid)
    }

    pub(crate) fn vm_state(&self, name: &str) -> State {
        match self.vm_pid(name) {
            Some(pid) => State::Running { pid },
            None => State::Stopped,
        }
    }

    fn tap(&self, record: &MachineRecord) -> String {
        bridge::port_name(&self.options.instance, record.number)
    }

    pub(crate) async fn start_vm(self: &Arc<Self>, record: &MachineRecord) -> Result<(), Error> {
        let Base::Vm(vm) = &record.spec.base else {
            return Err(fail(&record.spec.name, "it is not virtual"));
        };
        let (inner, own, disk) = (self.clone(), record.clone(), vm.disk.clone());
        let network = blocking(move || {
            let _lock = inner.records.lock()?;
            let network = inner.network_of(&own)?;
            inner.network_up(&network)?;
            inner.furnish_vm(&own, &network, disk.as_deref())?;
            Ok(network)
        })
        .await?;
        let kvm = match vm.accel {
            Accel::Kvm => true,
            Accel::Tcg => false,
            Accel::Auto => has_kvm(),
        };
        let first = self.launch(record, vm, &network, kvm).await;
        // A processor that offers its virtualisation, and then cannot run the guest, is found inside other virtual
        // machines.
        if kvm && vm.accel == Accel::Auto && first.is_err() {
            self.quit(&record.spec.name).await?;
            return self.launch(record, vm, &network, false).await;
        }
        first
    }

    fn furnish_vm(
        &self,
        record: &MachineRecord,
        network: &NetworkRecord,
        disk: Option<&Path>,
    ) -> Result<(), Error> {
        let home = self.records.home(&record.spec.name);
        if let Some(base) = disk {
            let own = home.join("disk");
            if !own.exists() {
                // Whole or not at all: a copy takes a while.
                let draft = home.join("disk.new");
                fs::copy(base, &draft).map_err(Error::io("copying", base))?;
                fs::rename(&draft, &own).map_err(Error::io("writing", &own))?;
            }
            let seed = home.join("seed");
            cloud_init::write(
                &seed,
                record,
                network,
                &names::resolv_conf(&network.spec.domain),
            )
            .map_err(Error::io("writing", &seed))?;
        }
        Ok(())
    }

    async fn launch(
        self: &Arc<Self>,
        record: &MachineRecord,
        vm: &VmSpec,
        network: &NetworkRecord,
        kvm: bool,
    ) -> Result<(), Error> {
        let name = &record.spec.name;
        let home = self.records.home(name);
        let tap = self.tap(record);
        for stale in ["qemu.pid", "qmp.sock"] {
            let _ = fs::remove_file(home.join(stale));
        }
        let mut command = Command::new(QEMU);
        command
            .args(arguments(
                &self.options.instance,
                record,
                vm,
                &home,
                &tap,
                kvm,
            ))
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = tokio::time::timeout(START_TIME, command.output()).await;
        let output = match output {
            Err(_) => {
                return Err(fail(
                    name,
                    format!("{QEMU} is not ready after {START_TIME:?}"),
                ));
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(fail(
                    name,
                    format!("{QEMU} is not installed (Debian's package is qemu-system-x86)"),
                ));
            }
            Ok(output) => {
                output.map_err(|error| fail(name, format!("starting {QEMU}: {error}")))?
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(fail(name, format!("{QEMU} did not start: {}", said.trim())));
        }
        let at = self.bridge(network);
        blocking(move || Ok(bridge::join(&at, &tap)?)).await?;
        self.watch(name, &home).await
    }

    /// Looks for a moment whether the guest runs.
    async fn watch(&self, name: &str, home: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| fail(name, format!("asking QEMU: {error}"));
        let mut qmp = Qmp::connect(home).await.map_err(failed)?;
        let end = Instant::now() + FIRST_MOMENT;
        loop {
            let status = qmp.ask("query-status").await.map_err(failed)?;
            match status["status"].as_str() {
                Some("internal-error" | "guest-panicked" | "io-error") => {
                    return Err(fail(
                        name,
                        format!("the guest does not run: {}", status["status"]),
                    ));
                }
                _ if Instant::now() > end => return Ok(()),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Ends a virtual machine: by its power button, and after `grace` at once.
    pub(crate) async fn stop_vm(
        self: &Arc<Self>,
        record: &MachineRecord,
        grace: Duration,
    ) -> Result<(), Error> {
        let name = &record.spec.name;
        if self.vm_pid(name).is_some() && !grace.is_zero() {
            if let Ok(mut qmp) = Qmp::connect(&self.records.home(name)).await {
                let _ = qmp.ask("system_powerdown").await;
            }
            self.gone_within(name, grace).await;
        }
        self.quit(name).await?;
        let (inner, tap, routes) = (self.clone(), self.tap(record), record.spec.routes.clone());
        let netns = inner.records.netns(name);
        blocking(move || {
            // QEMU's own end of it is gone with QEMU.
            bridge::detach(&tap, &netns)?;
            for route in routes {
                bridge::unroute(route)?;
            }
            Ok(())
        })
        .await
    }

    async fn gone_within(&self, name: &str, time: Duration) -> bool {
        let end = Instant::now() + time;
        while self.vm_pid(name).is_some() {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    async fn quit(&self, name: &str) -> Result<(), Error> {
        let Some(pid) = self.vm_pid(name) else {
            return Ok(());
        };
        if let Ok(mut qmp) = Qmp::connect(&self.records.home(name)).await {
            let _ = qmp.ask("quit").await;
        }
        if self.gone_within(name, QUIT_TIME / 3).await {
            return Ok(());
        }
        let pid_to_kill = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid_to_kill, nix::sys::signal::Signal::SIGKILL);
        if self.gone_within(name, QUIT_TIME).await {
            Ok(())
        } else {
            Err(fail(name, format!("process {pid} does not end")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Stage;
    use crate::spec::MachineSpec;

    #[test]
    fn the_command_line_says_what_was_asked_for() {
        let vm = VmSpec {
            kernel: Some("/boot/vmlinux".into()),
            initrd: Some("/boot/initrd".into()),
            cmdline: "quiet".to_owned(),
            ..VmSpec::default()
        };
        let mut spec = MachineSpec::new("a", Base::Vm(vm.clone()), "lan");
        spec.cpu_milli = Some(1500);
        spec.memory_mib = Some(128);
        let record = MachineRecord {
            spec,
            number: 7,
            address: std::net::Ipv4Addr::new(10, 0, 0, 2),
            mac: "02:63:0a:00:00:02".to_owned(),
            image: None,
            stage: Stage::Made,
            created: jiff::Timestamp::UNIX_EPOCH,
        };
        let line =
            arguments("ab12cd", &record, &vm, Path::new("/x"), "csab12cdm7", false).join(" ");
        for part in [
            "-smp 2 -m 128M",
            "-accel tcg",
            "ifname=csab12cdm7",
            "mac=02:63:0a:00:00:02",
            "-kernel /boot/vmlinux -initrd /boot/initrd -append console=ttyS0 quiet",
            "process=consort-ab12cd-a",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("-drive"));
        assert_eq!(escaped(Path::new("/a,b")), "/a,,b");
    }
}
