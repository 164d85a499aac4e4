"""Soaks: the real servers under load, faults and promotions for long, with every answer checked."""
