//! The store through its public face: what arrives, what stays, what a crash or a bad disk leaves.

#[cfg(test)]
mod arriving;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod hot;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod looking_after;
#[cfg(test)]
mod partial;
#[cfg(test)]
mod short;
#[cfg(test)]
mod support;
