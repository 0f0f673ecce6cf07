//! The scan directory and its slots, driven through s6's own programs. Nothing here touches the volume.

pub mod changes;
pub mod orders;
pub mod programs;
pub mod publish;
pub mod remind;
pub mod retire;
pub mod room;
pub mod scandir;
pub mod slot;
pub mod staging;
pub mod supervise;
pub mod template;
pub mod tidy;
pub mod turns;
