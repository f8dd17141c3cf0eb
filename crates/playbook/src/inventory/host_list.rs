//! Inventories that are a list of hosts on the command line: `web1,web2,`.

use super::read::Reading;
use super::{address, parse_address};
use crate::source::Located;

/// Reads one; with `ranges` the hosts may have them (`advanced_host_list`).
pub(super) fn parse(reading: &mut Reading<'_>, list: &str, ranges: bool) -> Result<(), Located> {
    for written in list
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        let (names, port) = if ranges {
            match address::expand(written) {
                Ok(expanded) => expanded,
                // What Python itself stumbles on is no host either.
                Err(error) if !error.message().starts_with("host range") => {
                    return Err(unreadable(&error));
                }
                Err(error) => {
                    leaves(reading, &error);
                    (vec![written.to_owned()], None)
                }
            }
        } else {
            match parse_address(written, false) {
                Ok(address) => (vec![address.host], address.port),
                Err(error) => {
                    leaves(reading, &error);
                    (vec![written.to_owned()], None)
                }
            }
        };
        for name in names {
            if !reading.inventory.hosts.contains_key(name.as_str()) {
                reading
                    .add_hosts(&[name], Some("ungrouped"), port, &[])
                    .map_err(|error| unreadable(&error))?;
            }
        }
    }
    Ok(())
}

fn unreadable(error: &Located) -> Located {
    Located::parser(format!(
        "Invalid data from string, could not parse: {}",
        error.message()
    ))
}

fn leaves(reading: &Reading<'_>, error: &Located) {
    reading.detail(
        3,
        format!(
            "Unable to parse address from hostname, leaving unchanged: {}",
            error.message()
        ),
    );
}
