"""A release in other people's forms: a folder for the Hugging Face Hub, a file that needs torch alone, data sets."""
