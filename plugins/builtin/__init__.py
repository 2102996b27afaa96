"""The plugins that come with Greenroom; they are found and loaded like anyone's."""
