//! How many connections, or calls, there are from each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections, or calls, by address; as many addresses as there are of them at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection or a call that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// Counts one more, unless there are `max` from its address already.
    pub(crate) fn place(&self, address: IpAddr, max: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or_default();
        if count >= max {
            return None;
        }
        counts.insert(address, count + 1);
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_dropped() {
        let addresses = Addresses::default();
        let here = IpAddr::from([127, 0, 0, 1]);
        let one = addresses.place(here, 2).unwrap();
        let two = addresses.place(here, 2).unwrap();
        assert!(addresses.place(here, 2).is_none());
        assert!(addresses.place(IpAddr::from([127, 0, 0, 2]), 2).is_some());
        drop(one);
        assert!(addresses.place(here, 2).is_some());
        drop(two);
        assert!(addresses.place(here, 0).is_none());
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
