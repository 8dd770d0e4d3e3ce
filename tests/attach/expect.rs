//! Errors as they must be: of one variant, with a message that helps.

use ringway::Error;

/// The error of a call that must fail.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

/// Requires that a message contains all of these.
#[track_caller]
pub(crate) fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

/// Requires a variant, and a message that contains all of the parts. Before the arrow, the name of the call.
macro_rules! assert_refused {
    ($call:expr => $result:expr, $pattern:pat $(if $guard:expr)?, $($part:expr),+ $(,)?) => {{
        let call = $call;
        let error = $result.err().unwrap_or_else(|| panic!("{call} was not refused"));
        assert!(matches!(&error, $pattern $(if $guard)?), "{call}: another error: {error:?}");
        $crate::expect::says(&error, &[$($part),+]);
    }};
    ($result:expr, $($rest:tt)+) => { $crate::expect::assert_refused!("it" => $result, $($rest)+) };
}
pub(crate) use assert_refused;

/// What is said about damage: what it is about, both sides, and the remedy.
#[track_caller]
pub(crate) fn damaged<T>(result: Result<T, Error>) -> &'static str {
    let error = refused(result);
    let Error::Damaged { field, expected, found, .. } = error else { panic!("another error: {error:?}") };
    assert_ne!(expected, found);
    says(&error, &[field, &expected.to_string(), &found.to_string(), "remove it with ringway::unlink"]);
    field
}
