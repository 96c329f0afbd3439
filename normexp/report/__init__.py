"""What runs and sweeps came to: tables, comparisons, figures and a page. Reads run directories only, never torch."""
