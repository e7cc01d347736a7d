//! Customers: what is bought, in which transactions, and what is undone. All of it from a seed.

/// A source of purchases; the same seed, the same purchases.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    chance: Chance,
    orders: u32,
}

/// What one transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purchase {
    /// In the order of their doing.
    pub(crate) steps: Vec<Step>,
    /// Whether the transaction is rolled back.
    pub(crate) rolled_back: bool,
}

/// Orders that change together; one that is named twice changes twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// In ascending order over all steps, so that no two transactions wait for each other.
    pub(crate) orders: Vec<u32>,
    /// Whether it is a savepoint that is rolled back.
    pub(crate) undone: bool,
}

/// The most changes in one transaction.
const CHANGES_MAX: u64 = 5;

impl Customer {
    /// One that changes orders 1 to `orders`.
    pub(crate) fn new(seed: u64, orders: u32) -> Self {
        Self { chance: Chance(seed), orders }
    }

    /// The next transaction: one in ten is rolled back, and in one in six a savepoint is.
    pub(crate) fn purchase(&mut self) -> Purchase {
        let changes = 1 + self.chance.below(CHANGES_MAX) as usize;
        let mut orders: Vec<u32> = (0..changes).map(|_| self.order()).collect();
        orders.sort_unstable();
        let rolled_back = self.chance.below(10) == 0;
        let steps = if self.chance.below(6) == 0 {
            let undone_from = self.chance.below(changes as u64) as usize;
            let after_from = undone_from + 1 + self.chance.below((changes - undone_from) as u64) as usize;
            let after = orders.split_off(after_from);
            let undone = orders.split_off(undone_from);
            vec![
                Step { orders, undone: false },
                Step { orders: undone, undone: true },
                Step { orders: after, undone: false },
            ]
        } else {
            vec![Step { orders, undone: false }]
        };
        Purchase { steps, rolled_back }
    }

    /// A random price, in cents.
    pub(crate) fn price(&mut self) -> u32 {
        1 + self.chance.below(99_999) as u32
    }

    fn order(&mut self) -> u32 {
        1 + self.chance.below(self.orders.into()) as u32
    }
}

impl Purchase {
    /// How many events it leaves behind.
    pub(crate) fn events(&self) -> u64 {
        let kept = self.steps.iter().filter(|step| !step.undone && !self.rolled_back);
        kept.map(|step| step.orders.len() as u64).sum()
    }

    /// Leaves out the last changes, so that it leaves `events` behind at most.
    pub(crate) fn limit(&mut self, mut events: u64) {
        for step in self.steps.iter_mut().filter(|step| !step.undone) {
            step.orders.truncate(usize::try_from(events).unwrap_or(usize::MAX));
            events -= step.orders.len() as u64;
        }
    }
}

/// Random numbers: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    /// Below `bound`, which is 1 or more. The bias of the remainder is far below what a demonstration could show.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purchases(seed: u64) -> Vec<Purchase> {
        let mut customer = Customer::new(seed, 20);
        (0..2_000).map(|_| customer.purchase()).collect()
    }

    #[test]
    fn a_seed_says_what_is_bought() {
        assert_eq!(purchases(7), purchases(7));
        assert_ne!(purchases(7), purchases(8));
    }

    #[test]
    fn transactions_and_savepoints_are_rolled_back_and_orders_ascend() {
        let purchases = purchases(7);
        for purchase in &purchases {
            let orders: Vec<u32> = purchase.steps.iter().flat_map(|step| step.orders.clone()).collect();
            assert!(orders.is_sorted() && (1..=5).contains(&orders.len()), "{purchase:?}");
            assert!(orders.iter().all(|order| (1..=20).contains(order)));
        }
        let undone = |purchase: &&Purchase| purchase.steps.iter().any(|step| step.undone);
        assert!((150..250).contains(&purchases.iter().filter(|purchase| purchase.rolled_back).count()));
        assert!((250..420).contains(&purchases.iter().filter(undone).count()));
        assert!(purchases.iter().filter(undone).all(|purchase| !purchase.steps[1].orders.is_empty()));
    }

    #[test]
    fn a_limited_purchase_keeps_what_is_undone() {
        let step = |orders: &[u32], undone| Step { orders: orders.into(), undone };
        let mut purchase = Purchase {
            steps: vec![step(&[1, 2], false), step(&[2], true), step(&[3, 4], false)],
            rolled_back: false,
        };
        assert_eq!(purchase.events(), 4);
        purchase.limit(3);
        assert_eq!(purchase.steps, [step(&[1, 2], false), step(&[2], true), step(&[3], false)]);
        assert_eq!(purchase.events(), 3);
        purchase.rolled_back = true;
        assert_eq!(purchase.events(), 0);
    }
}
