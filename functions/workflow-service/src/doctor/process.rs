//! Which process has a port or a lock, as far as `/proc` tells it to this user.

use std::fs;
use std::path::Path;

/// A listening socket, in the tables of `/proc/net`.
const LISTENING: &str = "0A";

/// Who listens on a port of this machine, e.g. `python3 (process 4711)`.
pub(super) fn of_port(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes = tables.iter().flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), port));
    let links: Vec<String> = inodes.collect::<Vec<_>>().iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| has_open(*id, &links)).map(described)
}

/// The inodes of the sockets in a table of `/proc/net` that listen on a port.
fn listening(table: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let of_line = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        (address.ends_with(&end) && *state == LISTENING).then(|| (*inode).to_owned())
    };
    table.lines().filter_map(of_line).collect()
}

fn has_open(id: u32, links: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| links.iter().any(|name| link == Path::new(name)))
}

/// Who holds a lock on the file with this inode.
pub(super) fn of_lock(inode: u64) -> Option<String> {
    holder(&fs::read_to_string("/proc/locks").ok()?, inode).map(described)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`: its fifth word is the process, the next ends in the inode.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    let end = format!(":{inode}");
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(5).filter(|file| file.ends_with(&end))?;
        words.get(4)?.parse().ok()
    };
    locks.lines().find_map(of_line)
}

fn described(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("process {id}"),
        name => format!("{name} (process {id})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_system_are_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F94 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 777 1 0 100 0 0 10 0\n   \
                     1: 0100007F:1F94 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000  0 0 778 1 0 100 0 0 10 0\n   \
                     2: 0100007F:1F95 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 779 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 8084), ["777"]);
        let locks = "1: POSIX  ADVISORY  READ  12 08:01:130 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF\n";
        assert_eq!((holder(locks, 131), holder(locks, 31)), (Some(4711), None));
    }

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // Some systems for containers do not list sockets.
        let is_listed = !listening(&fs::read_to_string("/proc/net/tcp").unwrap_or_default(), port).is_empty();
        let found = of_port(port).unwrap_or_default();
        assert_eq!(found.contains(&format!("process {}", std::process::id())), is_listed, "{found}");
    }
}
