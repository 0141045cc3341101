//! Build script of the functions: linked to a fixed address, as Go's are. A position-independent executable of this size
//! has some 17,000 addresses to fill in before `main`, and 600 KB of memory to touch for it, in every cold start. Stack,
//! heap and libraries keep their random places.

#[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script its target")]
fn main() {
    println!("cargo::rerun-if-changed=../link.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
