//! Recommendation models that score: popularity, ALS, and Burn modules
