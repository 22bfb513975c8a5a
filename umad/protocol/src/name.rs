//! Names in the abstract namespace of AF_UNIX. Each ends in a NUL byte, which is part of the name.

/// Returns the name of the server's socket for control messages.
#[must_use]
pub fn server_control(base: &str) -> Vec<u8> {
    format!("{base}:ctl\0").into_bytes()
}

/// Returns the name of the server's socket for MADs of the client in `slot`.
#[must_use]
pub fn server_data(base: &str, slot: u32) -> Vec<u8> {
    format!("{base}:out{slot}\0").into_bytes()
}

/// Returns the name of the socket for control messages of client `id`, a process id.
#[must_use]
pub fn client_control(base: &str, id: u32) -> Vec<u8> {
    format!("{base}:ctl{id}\0").into_bytes()
}

/// Returns the name of the socket for MADs of client `id`, a process id.
#[must_use]
pub fn client_data(base: &str, id: u32) -> Vec<u8> {
    format!("{base}:in{id}\0").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_those_of_ibsim() {
        assert_eq!(server_control("sim"), b"sim:ctl\0");
        assert_eq!(server_data("sim", 12), b"sim:out12\0");
        assert_eq!(client_control("sim", 4711), b"sim:ctl4711\0");
        assert_eq!(client_data("sim", 4711), b"sim:in4711\0");
    }
}
