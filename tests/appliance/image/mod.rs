//! The images, unmodified: the disk in virtual machines, the container under podman. A boot takes minutes where there is no
//! virtualisation, so this is `make image-test` and not part of `make check`.

mod boots;
mod container;
mod limits;
mod machine;
mod update;
mod way_in;
