"""What attacks leave: adversarial candidates, counts, shard results, earlier packs."""
