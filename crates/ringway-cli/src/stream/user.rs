//! Users, by name or number.

use std::fs;

/// The number of a user.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), text).ok_or_else(|| {
        format!("no such user in /etc/passwd; give the number that `id -u {}` prints", text.escape_debug())
    })
}

fn find(users: &str, name: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    };
    users.lines().find_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\n\nbob:x:1001:7::/:\nbobby:x:oops\n";
        assert_eq!(find(users, "bob"), Some(1001));
        for unknown in ["", "bo", "broken", "bobby", "x"] {
            assert_eq!(find(users, unknown), None, "{unknown}");
        }
        assert_eq!(parse("1001"), Ok(1001));
        assert_eq!(parse("root"), Ok(0));
        for wrong in ["", "-1", "4294967296", "no such user"] {
            assert!(parse(wrong).unwrap_err().contains("id -u"), "{wrong}");
        }
    }
}
